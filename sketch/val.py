# caches preprocessed validation pictures
import csv, numpy as np
from pathlib import Path
from digitjax.predict import ImageError
from digitjax.pictures.preprocess import preprocess_image
import sys
V=Path('/work/shared/validation')
out={}
for part in ('digits','letters'):
    ims,lab,kind=[],[],[]
    for r in csv.DictReader(open(V/part/'labels.csv')):
        if part=='letters' and 'digitlike' in (r['note'] or ''): continue
        try:
            p=preprocess_image(V/part/r['file']); im=p[0]
        except ImageError as e: im=np.zeros((28,28,1),np.uint8)
        if im.ndim==2: im=im[...,None]
        ims.append(im); lab.append(int(r['label']) if r['label'].isdigit() else 10)
        k=r['file'].split('-')[0]
        kind.append(k+('/slashed' if 'slashed' in (r['note'] or '') else ''))
    out[part]=(np.stack(ims),np.array(lab),np.array(kind)); print(part,out[part][0].shape,out[part][0].dtype)
np.savez('/tmp/proto/val.npz',di=out['digits'][0],dl=out['digits'][1],dk=out['digits'][2],li=out['letters'][0])
