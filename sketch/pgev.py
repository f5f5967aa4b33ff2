"""PYTHONPATH=/tmp/pg python /tmp/pgev.py RUN [threshold]  (RUN folder with config.json/weights.npz, or a state)"""
import sys, csv, pickle, time; import numpy as np, cv2
from pathlib import Path
from digitjax.predict import pages, layout
from digitjax.pictures.source import load_picture
from digitjax.runs.weights import load_model
V=Path('/work/shared/validation')
def texts(det,t):
    k=det.scores.max(1)>=t; b=det.boxes[k]; c=det.scores[k].argmax(1)
    L=layout.group_lines(b) if len(b) else []
    return L,b,c
def find(r,p,t0=.2):
    pic=load_picture(p,2600) if not isinstance(p,np.ndarray) else None
    return pages.find_digits(r,pic.gray if pic else p)
def main():
    r=load_model(Path(sys.argv[1])); T=[.3,.4,.5]
    what=sys.argv[2] if len(sys.argv)>2 else 'lines,strings,pages'
    if 'lines' in what:
        D=[];t0=time.time()
        for row in csv.DictReader(open(V/'lines/labels.csv')): D.append((row['file'],row['label'],find(r,V/'lines'/row['file'])))
        el=time.time()-t0
        for t in T:
            ok={'cheque':[],'ten':[]};bad=[]
            for f,l,d in D:
                k=d.scores.max(1)>=t; b,c=d.boxes[k],d.scores[k].argmax(1); o=np.argsort(b[:,0]+b[:,2]); s=''.join(map(str,c[o])); ok[f.split('-')[0]].append(s==l); bad+=[(f,l,s)]*(s!=l)
            print('t',t,{k:round(np.mean(v)*100,1) for k,v in ok.items()},f"{1000*el/len(D):.0f} ms each",flush=True)
        print([f"{f[7:11]} {l}>{s}" for f,l,s in bad if f[0]=='c'][:40])
    if 'strings' in what:
        import collections, digitjax.data.arrays as A
        Character=A.Character; A.Character=collections.namedtuple('Character','text ink dataset'); words,strings=pickle.load(open('/tmp/pages/words.pkl','rb')); A.Character=Character
        ws=sorted({s[0] for s in strings}); held=set(ws[::5]); S=[s for s in strings if s[0] in held or s[1] in('apb','cea')]
        rng=np.random.default_rng(0); res={t:[] for t in T}; bad=[]
        for w,d,c,ch in S[:400]:
            pts=np.concatenate(ch.ink); lo,hi=pts.min(0),pts.max(0); h=48/max(hi[1]-lo[1],1e-3); 
            if (hi[0]-lo[0])*h>900: continue
            im=np.full((80,int((hi[0]-lo[0])*h)+32),255,np.uint8)
            for s in ch.ink: cv2.polylines(im,[np.rint(((s-lo)*h+16)*16).astype(np.int32)],False,0,3,cv2.LINE_AA,4)
            dd=find(r,im.astype(np.float32)); lab=''.join(x for x in ch.text if x.isdigit())
            for t in T:
                k=dd.scores.max(1)>=t; b,cc=dd.boxes[k],dd.scores[k].argmax(1); o=np.argsort(b[:,0]+b[:,2]); s=''.join(map(str,cc[o])); res[t].append(s==lab)
                if t==.4 and s!=lab: bad.append((ch.text,s))
        print('strings',{t:(round(np.mean(v)*100,1),len(v)) for t,v in res.items()}); print(bad[:25],flush=True)
    if 'pages' in what:
        ex={t:0 for t in T}; su={t:[] for t in T}
        for row in csv.DictReader(open(V/'pages/labels.csv')):
            t0=time.time(); d=find(r,V/'pages'/row['file']); el=time.time()-t0; k=row['file'].split('-')[0]
            for t in T:
                L,b,c=texts(d,t); s='|'.join(''.join(str(c[i]) for i in l) for l in L)
                if k=='page': ex[t]+=s==row['label']; 
                if k=='page' and t==.4 and s!=row['label']: print(row['file'],row['label'],'>',s[:120])
                if k=='form' and t==.4: n=len(c); print(row['file'],'found',n,'right',int((c==int(row['label'])).sum()),'rows',len(L),f"{el:.1f} s")
                if k=='sudoku':
                    from collections import Counter
                    want=Counter(row['label'].replace('|','').replace('0','')); got=Counter(map(str,c)); m=sum((want&got).values()); su[t].append(2*m/max(sum(want.values())+sum(got.values()),1))
                    if t==.4: print(row['file'],'f1',round(su[t][-1],3),'lines',len(L),f"{el:.1f} s")
        print('pages',ex,'sudoku f1',{t:round(np.mean(v),3) for t,v in su.items()})
main()
