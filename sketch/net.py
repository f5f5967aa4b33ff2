import jax, jax.numpy as jnp, numpy as np
from flax import linen as nn
from functools import partial
from digitjax.nn import layers
Conv = partial(nn.Conv, use_bias=False, conv_general_dilated=layers.conv_general_dilated)
class Unit(nn.Module):
    features: int
    size: int = 3
    @nn.compact
    def __call__(self, x, train):
        if self.size == 1:
            x = nn.Dense(self.features, use_bias=False)(x)
        else:
            x = Conv(self.features, (3, 3), padding="SAME")(x)
        return nn.relu(nn.BatchNorm(use_running_average=not train, momentum=.97)(x))
def up(x):
    n,h,w,c=x.shape
    return jnp.broadcast_to(x[:,:,None,:,None],(n,h,2,w,2,c)).reshape(n,2*h,2*w,c)
class PageNet(nn.Module):
    widths: tuple = (24, 48, 96, 128)
    @nn.compact
    def __call__(self, x, train: bool):
        """x [n,h,w,1] normalised -> [n,h/4,w/4,14]"""
        a,b,c,d=self.widths
        n,h,w,_=x.shape
        x=x.reshape(n,h//2,2,w//2,2).transpose(0,1,3,2,4).reshape(n,h//2,w//2,4)
        x=Unit(a)(x,train)
        x=layers.max_pool(x)
        x=Unit(b)(x,train); x4=Unit(b)(x,train)
        x=layers.max_pool(x4)
        x=Unit(c)(x,train)
        x=x+Unit(c)(Unit(c)(x,train),train)
        x8=x+Unit(c)(Unit(c)(x,train),train)
        x=layers.max_pool(x8)
        x=Unit(d)(x,train); x=x+Unit(d)(Unit(d)(x,train),train)
        x=up(Unit(c,1)(x,train))+x8
        x=Unit(c)(x,train)
        x=up(Unit(64,1)(x,train))+Unit(64,1)(x4,train)
        x=Unit(64)(x,train)
        heads=nn.Dense(14, bias_init=lambda k,s,d=jnp.float32: jnp.concatenate([jnp.full(10,-4.6),jnp.zeros(4)]))(x)
        return heads
def targets(boxes, labels, h, w):
    """boxes [m,4] padded with label -1 -> heat [h,w,10], box [h,w,4], weight [h,w]"""
    cx,cy=(boxes[:,0]+boxes[:,2])/8-.5,(boxes[:,1]+boxes[:,3])/8-.5
    bw,bh=boxes[:,2]-boxes[:,0],boxes[:,3]-boxes[:,1]
    sx=jnp.maximum(.13*bw/4+.15,.45); sy=jnp.maximum(.13*bh/4+.15,.45)
    icx,icy=jnp.round(cx),jnp.round(cy)
    ys,xs=jnp.arange(h)[:,None,None],jnp.arange(w)[None,:,None]
    g=jnp.exp(-((xs-icx)**2/(2*sx**2)+(ys-icy)**2/(2*sy**2)))*(labels>=0)   # h w m
    onehot=jax.nn.one_hot(labels,10)
    heat=jnp.max(g[...,None]*onehot,axis=2) if False else jnp.stack([jnp.max(jnp.where(labels==k,g,0),axis=2) for k in range(10)],-1)
    owner=g.argmax(-1); weight=g.max(-1); weight=jnp.where(weight>.4,weight,0)
    ob=boxes[owner]
    px,py=(jnp.arange(w)[None,:]+.5)*4,(jnp.arange(h)[:,None]+.5)*4
    box=jnp.stack([px-ob[...,0],py-ob[...,1],ob[...,2]-px,ob[...,3]-py],-1)/16
    return heat,box,weight
def loss_fn(out, boxes, labels):
    h,w=out.shape[1:3]
    heat,box,weight=jax.vmap(lambda b,l: targets(b,l,h,w))(boxes,labels)
    logit=out[...,:10]; p=jax.nn.sigmoid(logit)
    logp,lognp=jax.nn.log_sigmoid(logit),jax.nn.log_sigmoid(-logit)
    pos=heat>.999
    focal=jnp.where(pos,-(1-p)**2*logp,-(1-heat)**4*p**2*lognp)
    n=jnp.maximum(pos.sum(),1)
    lb=(jnp.abs(out[...,10:]-box).sum(-1)*weight).sum()/jnp.maximum(weight.sum(),1)
    return focal.sum()/n, lb
