"""Images drawn by program for training: non-digits, digits redrawn, and digits in styles that MNIST lacks.

A classifier that has only ever seen digits is sure of one in anything (Hein et al. 2019,
https://arxiv.org/abs/1812.05720). So training shows it letters and signs, shapes, scribbles, print, and digits that are
turned, joined or cut. And MNIST's writers, Americans, draw a 1 as a plain stroke; one with an upstroke they would take
for a 7. None of them slashed a zero.

`mix.py` adds all of it to a data set, as much as the config says: `digits.py` draws digits, in the styles of
`styles.py`; `negatives.py` non-digits, of fonts' letters (`characters.py`) and all kinds of shapes (`doodles.py`);
`hands.py` the digits and letters of other people, from their strokes; `paper.py` adds rules and specks to any of them.
`canvas.py` has the pens and cameras.

All are drawn in MNIST's form as every picture is, by `draw_digit` of `digitjax.pictures`. But MNIST's digits have the
jagged edges of the scans that they were made from, and by smooth ones a network tells the drawings at once, whatever
they show; then it doubts the digits of other people too. So drawn edges are roughened at random, and some digits are
redrawn with smoothed ones, or are a font's, as some letters are. Digits and others alike are photographed now and then,
on paper in uneven light.
"""
