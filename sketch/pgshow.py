import sys,time; sys.path.insert(0,'/tmp/pg')
import numpy as np, cv2
cv2.setNumThreads(1)
import digitjax; assert digitjax.__file__.startswith('/tmp/pg')
from pathlib import Path
from digitjax.drawing import pages
from digitjax.data.extra import load_extra
from digitjax.data.splits import load_splits
import pickle,os
f='/tmp/pg-src.pkl'
if os.path.exists(f): S=pickle.load(open(f,'rb'))
else:
    sp=load_splits('mnist',None,Path('/work/shared/mnist')); ex,ho=load_extra(['unipen','optdigits','semeion','omniglot'],None,Path('/tmp/data'))
    S=pages.gather_sources(sp.train,ex); pickle.dump(S,open(f,'wb'))
print(len(S.hands),len(S.others))
rng=np.random.default_rng(int(sys.argv[1])); t=time.time(); P=[pages.compose_page(rng,S,160,320) for _ in range(12)]; print((time.time()-t)/12)
out=[]
for p in P:
    c=cv2.cvtColor(cv2.resize(p.picture,None,fx=2,fy=2),cv2.COLOR_GRAY2BGR)
    for b,l in zip(p.boxes,p.labels):
        b=np.rint(2*b).astype(int); cv2.rectangle(c,tuple(map(int,b[:2])),tuple(map(int,b[2:])),(0,0,255),1); cv2.putText(c,str(l),(int(b[0]),int(b[1])-1),0,.4,(0,160,0),1,cv2.LINE_AA)
    out.append(c)
cv2.imwrite('/tmp/pgshow.png',np.vstack([np.hstack(out[i:i+3]) for i in range(0,12,3)]))
