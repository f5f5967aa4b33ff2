import sys; sys.path.insert(0,'sketch')
from pathlib import Path
import numpy as np, pickle, collections, re
from digitjax.data import unipen
from digitjax.data.arrays import Character
F=Path('UNIPEN')
words=[];strings=[];bad=0
for c in '78':
    for p in sorted((F/'data'/c).rglob('*.dat')):
        try:
            for s in unipen._read_file(F,p,c):
                ch=Character(s.text,tuple(np.asarray(k,np.float32) for k in s.strokes),'unipen')
                if not np.ptp(np.concatenate(s.strokes),axis=0).all(): continue
                if re.fullmatch(r"[-0-9.,/()$#=*+: ]*",s.text) and sum(x.isdigit() for x in s.text)>=2: strings.append((s.writer,s.donor,c,ch))
                elif s.text.isalpha() and c=='7': words.append((s.donor,ch))
        except Exception as e: bad+=1; print(p,e)
print(len(words),len(strings),bad,collections.Counter(d for _,d,_,_ in strings),len({w for w,*_ in strings}), collections.Counter(d for d,_ in words))
pickle.dump((words,strings),open('sketch/words.pkl','wb'))
