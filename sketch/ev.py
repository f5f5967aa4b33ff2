import sys, csv, pickle, time; sys.path.insert(0,'sketch')
import numpy as np, cv2, jax, jax.numpy as jnp
from pathlib import Path
from functools import lru_cache
import net, data
from digitjax.pictures.source import load_picture
V=Path('VALIDATION')
model=net.PageNet()
class Reader:
    def __init__(s,f):
        v=pickle.load(open(f,'rb')); s.f=jax.jit(lambda x: model.apply(v,x,train=False))
    def heads(s,pic):
        h,w=pic.shape; H,W=-(-h//32)*32,-(-w//32)*32
        p=np.pad(pic,((0,H-h),(0,W-w)),constant_values=int(np.median(np.concatenate([pic[0],pic[-1],pic[:,0],pic[:,-1]]))))
        return np.asarray(s.f(data.normalize(p)[None,...,None]))[0]
    def detect(s,pic,scales,t=.3):
        D=[]
        for sc in scales:
            p=cv2.resize(pic,None,fx=sc,fy=sc,interpolation=cv2.INTER_AREA if sc<1 else cv2.INTER_CUBIC) if sc!=1 else pic
            o=s.heads(p); heat=1/(1+np.exp(-o[...,:10])); best=heat.max(-1)
            mx=cv2.dilate(best,np.ones((3,3),np.uint8)); ys,xs=np.nonzero((best==mx)&(best>t))
            for y,x in zip(ys,xs):
                l,tp,r,b=np.maximum(o[y,x,10:],.05)*16; cx,cy=(x+.5)*4,(y+.5)*4
                hh=max(tp+b,.5*(l+r))
                if not 9<hh<52 or cx>p.shape[1] or cy>p.shape[0]: continue
                q=best[y,x]
                pref=1-.25*abs(np.log2(hh/22)) # digits of middle size are read best
                D.append((q*pref,q,(cx-l)/sc,(cy-tp)/sc,(cx+r)/sc,(cy+b)/sc,heat[y,x]))
        D.sort(key=lambda d:-d[0]); K=[]
        for d in D:
            ok=True
            for k in K:
                iw=min(d[4],k[4])-max(d[2],k[2]); ih=min(d[5],k[5])-max(d[3],k[3])
                if iw<=0 or ih<=0: continue
                a=(d[4]-d[2])*(d[5]-d[3]); c=(k[4]-k[2])*(k[5]-k[3])
                if iw*ih>.5*min(a,c): ok=False; break
            if ok: K.append(d)
        return K
def lines(r,t=.4,show=0):
    rows=list(csv.DictReader(open(V/'lines/labels.csv'))); ok={'cheque':[],'ten':[]}
    for row in rows:
        pic=cv2.imread(str(V/'lines'/row['file']),cv2.IMREAD_GRAYSCALE); k=row['file'].split('-')[0]
        sc=[a/pic.shape[0] for a in (24,34,48)]
        K=sorted(r.detect(pic,sc,t),key=lambda d:d[2]+d[4]); txt=''.join(str(int(d[6].argmax())) for d in K)
        ok[k].append(txt==row['label'])
        if txt!=row['label'] and show and k=='cheque': show-=1; print(row['file'],row['label'],txt)
    print({k:(round(np.mean(v),3),len(v)) for k,v in ok.items()},'t',t,flush=True)
if __name__=='__main__':
    r=Reader(sys.argv[1]); t0=time.time(); lines(r,.4,show=20); print(time.time()-t0)
    for t in (.3,.5): lines(r,t)
