import sys, pickle, os
from pathlib import Path
import numpy as np
from digitjax.data.arrays import Character
from digitjax.data.unipen import read_characters
from digitjax.drawing.characters import LOOK_ALIKES, OMNIGLOT_LOOK_ALIKES
from digitjax.data.extra import load_extra
from digitjax.data.splits import load_splits
sys.path.insert(0,'sketch')
from pages import *
HELD=('apb','cea')
def more(g):
    words,_=pickle.load(open('sketch/words.pkl','rb'))
    words=[c for d,c in words if d not in HELD and 2<=len(c.text)<=9]
    seg=pickle.load(open('sketch/segmented.pkl','rb'))
    ws=sorted({o[0] for o in seg}); held=set(ws[::5])
    st=[(o[3],[(i,j,int(t) if t.isdigit() else -1) for i,j,t in o[4]]) for o in seg if o[5]>-2 and o[0] not in held and o[1] not in HELD]
    return g._replace(words=words,strings=st)
def load():
    f='sketch/glyphs.pkl'
    if os.path.exists(f): return more(Glyphs(*pickle.load(open(f,'rb'))[:3]))
    hands={}; others=[]
    for s in read_characters(Path('UNIPEN')):
        if s.donor in HELD: continue
        pts=np.concatenate(s.strokes)
        if not np.ptp(pts,axis=0).any(): continue
        c=Character(s.text,tuple(np.asarray(k,np.float32) for k in s.strokes),'unipen')
        if s.text in '0123456789' and len(s.text)==1: hands.setdefault(s.writer,[[] for _ in range(10)])[int(s.text)].append(c)
        elif s.text not in '-.,/()$#=*+:': others.append(c)
    hs=[h for h in hands.values() if sum(map(bool,h))>=8]
    sp=load_splits('mnist',None,Path('MNIST')).train
    rng=np.random.default_rng(0)
    idx=[np.flatnonzero(sp.labels==k) for k in range(10)]
    mn=[[Character(str(k),sp.images[i,...,0],'mnist') for i in idx[k]] for k in range(10)]
    for name in('optdigits','semeion'):
        e,_=load_extra([name],fold=0)
        h=[[c for c in e if c.text==str(k)] for k in range(10)]; hs+=[h]*4
    om,_=load_extra(['omniglot'],fold=0)
    others+=[c for c in om if c.text not in OMNIGLOT_LOOK_ALIKES]
    n=len(hs); hs+= [mn]*(n//3)
    pickle.dump((hs,others,[]),open(f,'wb')); print(n,len(hs),len(others))
    return Glyphs(hs,others,[])
