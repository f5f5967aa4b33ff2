import sys, numpy as np, cv2, json
from digitjax.runs.weights import load_model
from digitjax.nn import looks
from digitjax.nn.answers import is_digit_scores, measure_margins
from digitjax.nn.inference import compute_logits
from digitjax.data.extra import load_extra
from digitjax.data.splits import load_splits
from digitjax.drawing.hands import divide_hands, draw_plain
from pathlib import Path
from sklearn.metrics import roc_auc_score
run=Path(sys.argv[1]); m=load_model(run); cfg=m.config; fold=cfg.seed%5
v=np.load('/tmp/proto/val.npz')
sets={'nb+cv':(v['di'],v['dl'])}
sp=load_splits('mnist',None,Path('/work/shared/mnist'))
for n in ('unipen','optdigits','semeion'):
    d,_=divide_hands(load_extra([n],fold=fold)[1]); sets[n]=draw_plain(d)
_,o=divide_hands(load_extra(['unipen','omniglot'],fold=fold)[1]); sets['others']=draw_plain(o)
oc=[c for c in load_extra(['omniglot'],fold=fold)[1]]
_,og=divide_hands([c for c in oc if c.text.startswith('Greek')]); sets['greek']=draw_plain(og)
_,oo=divide_hands(oc); sets['omni']=draw_plain(oo)
sets['letters']=(v['li'],np.full(len(v['li']),10)); sets['val']=sp.validation
def soft(l):
    z=np.concatenate([l,np.zeros_like(l[:,:1])],1); z=z-z.max(1,keepdims=True); e=np.exp(z); return e/e.sum(1,keepdims=True)
for tta in (False,True):
    L={k:looks.predict_logits(m,np.asarray(a[0]),tta=tta) for k,a in sets.items()}
    print('TTA' if tta else 'single')
    ex=v['dk']
    for k,a in sets.items():
        if k not in('others','letters','greek','omni'): print('  argmax',k, f"{(L[k].argmax(1)==a[1]).mean():.4f}", int((L[k].argmax(1)!=a[1]).sum()), end=';')
    r=(L['nb+cv'].argmax(1)==v['dl'])
    for k in np.unique(ex): print('  ',k,f"{r[ex==k].mean():.4f} ({r[ex==k].sum()}/{(ex==k).sum()})",end=';')
    print()
    SC={'lse':lambda l:is_digit_scores(l,cfg),'best':lambda l:soft(l)[:,:10].max(1),'maxlogit':lambda l:l.max(1)}
    for s,f in SC.items():
        S={k:f(l) for k,l in L.items()}
        hand=np.concatenate([S[k] for k in ('unipen','optdigits','semeion')])
        print('  ',s,'AUROC letters',round(roc_auc_score(np.r_[np.ones(len(S['nb+cv'])),np.zeros(len(S['letters']))],np.r_[S['nb+cv'],S['letters']]),4))
        for p in (.003,.005,.0075,.01):
            t=np.quantile(hand,p)
            isnb=np.char.startswith(ex,'notebook'); acc=r&(S['nb+cv']>=t)
            line=[f"nb {acc[isnb].mean()*100:.1f}",f"cv {acc[~isnb].mean()*100:.1f}",f"slash {acc[ex=='notebook/slashed'].sum()}",f"letters {100*(S['letters']<t).mean():.1f}",f"others {100*(S['others']<t).mean():.1f}",f"greek {100*(S['greek']<t).mean():.1f}",f"omni {100*(S['omni']<t).mean():.1f}"]
            for k in('unipen','optdigits','semeion','val'): line.append(f"{k} {100*((L[k].argmax(1)==sets[k][1])&(S[k]>=t)).mean():.2f}")
            print('     ',p,f"t={t:.3f}",' '.join(line))
