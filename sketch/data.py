import sys; sys.path.insert(0,'sketch')
import numpy as np, cv2, multiprocessing as mp, os
M=112
def normalize(picture, size=48):
    x=picture.astype(np.float32)
    m=cv2.blur(x,(size+1,size+1),borderType=cv2.BORDER_REFLECT_101); s=cv2.blur(x*x,(size+1,size+1),borderType=cv2.BORDER_REFLECT_101)-m*m
    return ((x-m)/np.sqrt(np.maximum(s,0)+25)).clip(-4,4)
def worker(q, seed, hw, batch):
    os.nice(5); cv2.setNumThreads(1)
    from glyphs import load; from pages import compose_page
    g=load(); rng=np.random.default_rng(seed)
    while True:
        X=np.zeros((batch,*hw,1),np.float16); B=np.zeros((batch,M,4),np.float32); L=np.full((batch,M),-1,np.int32)
        for i in range(batch):
            p=compose_page(rng,g,*hw); n=min(len(p.labels),M); k=rng.permutation(len(p.labels))[:n]
            X[i,...,0]=normalize(p.picture); B[i,:n]=p.boxes[k]; L[i,:n]=p.labels[k]
        q.put((X,B,L))
def start(seed, hw, batch, n=1):
    ctx=mp.get_context('spawn'); q=ctx.Queue(6)
    for i in range(n): ctx.Process(target=worker,args=(q,seed*100+i,hw,batch),daemon=True).start()
    return q
