import sys, time, pickle; sys.path.insert(0,'sketch')
import numpy as np
HW=(160,320); BATCH=8; MICRO=2
def main():
    steps=int(sys.argv[1]); out=sys.argv[2]; init=sys.argv[3] if len(sys.argv)>3 else None
    import data; q=data.start(int(time.time()),HW,BATCH,int(sys.argv[4]) if len(sys.argv)>4 else 1)
    import jax, jax.numpy as jnp, optax
    from digitjax.predict import process; process.set_up()
    import net
    model=net.PageNet()
    v=jax.jit(lambda k: model.init(k,jnp.zeros((1,*HW,1)),train=False))(jax.random.key(0))
    print(sum(a.size for a in jax.tree.leaves(v['params'])),flush=True)
    if init: v=pickle.load(open(init,'rb'))
    sched=optax.cosine_onecycle_schedule(steps,float(sys.argv[5]) if len(sys.argv)>5 else .004,pct_start=.1)
    tx=optax.contrib.muon(sched,weight_decay=.01)
    def lossf(p,stats,x,b,l):
        o,s=model.apply({'params':p,'batch_stats':stats},x.astype(jnp.float32),train=True,mutable=['batch_stats'])
        f,lb=net.loss_fn(o,b,l); return f+.5*lb,(f,lb,s['batch_stats'])
    @jax.jit
    def step(p,stats,o,avg,i,X,B,L):
        def micro(c,xbl):
            g,f,lb,stats=c
            (_, (f1,lb1,stats)),g1=jax.value_and_grad(lossf,has_aux=True)(p,stats,*xbl)
            return (jax.tree.map(jnp.add,g,g1),f+f1,lb+lb1,stats),None
        k=BATCH//MICRO
        split=lambda a:a.reshape(k,MICRO,*a.shape[1:])
        (g,f,lb,stats),_=jax.lax.scan(micro,(jax.tree.map(jnp.zeros_like,p),0.,0.,stats),(split(X),split(B),split(L)))
        g=jax.tree.map(lambda a:a/k,g)
        u,o=tx.update(g,o,p); p=optax.apply_updates(p,u)
        d=jnp.minimum(.998,(1+i)/(10+i)); avg=jax.tree.map(lambda a,b:d*a+(1-d)*b,avg,(p,stats))
        return p,stats,o,avg,f/k,lb/k
    p,stats=v['params'],v['batch_stats']; o=tx.init(p); avg=(p,stats)
    t=time.time(); F=[];wait=0
    for i in range(steps):
        t1=time.time(); X,B,L=q.get(); wait+=time.time()-t1
        p,stats,o,avg,f,lb=step(p,stats,o,avg,i,X,B,L); F.append((f,lb))
        if i==0: jax.block_until_ready(f); print('compiled',time.time()-t,flush=True); t=time.time(); wait=0
        if (i+1)%50==0:
            a=np.array(jax.device_get(F[-50:])).mean(0); print(i+1,f"focal {a[0]:.3f} box {a[1]:.3f} {(i)*BATCH/(time.time()-t):.1f} pages/s wait {wait:.0f}s of {time.time()-t:.0f}",flush=True)
        if (i+1)%500==0 or i+1==steps: pickle.dump({'params':jax.device_get(avg[0]),'batch_stats':jax.device_get(avg[1])},open(out,'wb'))
if __name__=='__main__': main()
