import sys; sys.path[:0]=['OLD','sketch']
import pickle, numpy as np
from pathlib import Path
import digitjax; assert digitjax.__file__.startswith('OLD'),digitjax.__file__
from digitjax.data.arrays import Character
from digitjax.drawing.hands import draw_plain
from digitjax.runs.weights import load_model, default_checkpoint
from digitjax.nn import looks
class C2(tuple): pass
import digitjax.data.arrays as A
# pickled Characters have three fields; read them loosely
raw=open('sketch/words.pkl','rb').read()
import collections
A.Character=collections.namedtuple('Character','text ink dataset')
words,strings=pickle.loads(raw); A.Character=Character
m=load_model(default_checkpoint())
spans=[];imgs=[]
S=[s for s in strings if len(s[3].ink)<=40 and len(s[3].text)<=24]
for k,(w,d,c,ch) in enumerate(S):
    n=len(ch.ink)
    for i in range(n):
        for j in range(i+1,min(i+4,n)+1):
            st=ch.ink[i:j]; p=np.concatenate(st)
            if np.ptp(p,axis=0).any(): spans.append((k,i,j)); imgs.append(Character('0',st))
print(len(S),len(spans),flush=True)
X=draw_plain(imgs).images
L=looks.predict_logits(m,X,tta=False)
Z=np.concatenate([L,np.zeros((len(L),1))],1); Z=Z-np.logaddexp.reduce(Z,1,keepdims=True)
lp={}
for s,z in zip(spans,Z): lp[s]=z
out=[];short=0
for k,(w,d,c,ch) in enumerate(S):
    txt=[x for x in ch.text if x!=' ']; n=len(ch.ink); m_=len(txt)
    best=np.full((m_+1,n+1),-1e9); back={}
    best[0,0]=0
    hts=[np.ptp(s[:,1]) for s in ch.ink]
    for a in range(m_):
        for i in range(n):
            if best[a,i]<-1e8: continue
            for j in range(i+1,min(i+4,n)+1):
                z=lp.get((k,i,j))
                if z is None: sc=-.5 if not txt[a].isdigit() else -8
                elif txt[a].isdigit(): sc=max(z[int(txt[a])],-8)-.7*(j-i-1)
                else: sc=max(np.log1p(-min(np.exp(z[:10]).max(),.999)) if txt[a] not in '/()' else -1,-4)-1.0*(j-i-1)
                if best[a,i]+sc>best[a+1,j]: best[a+1,j]=best[a,i]+sc; back[a+1,j]=i
    if best[m_,n]<-1e8: short+=1; continue
    j=n; cuts=[]
    for a in range(m_,0,-1): i=back[a,j]; cuts.append((i,j,txt[a-1])); j=i
    cuts=cuts[::-1]
    dig=[lp[(k,i,j)][int(t)] for i,j,t in cuts if t.isdigit() and (k,i,j) in lp]
    out.append((w,d,ch,cuts,min(dig) if dig else 0,np.mean(dig) if dig else 0))
q=np.array([o[4] for o in out]); print(len(out),short,[(t,(q>t).sum()) for t in (-.5,-1,-2,-4,-8)])
pickle.dump([(o[0],o[1],o[2].text,o[2].ink,o[3],o[4],o[5]) for o in out],open('sketch/segmented.pkl','wb'))
