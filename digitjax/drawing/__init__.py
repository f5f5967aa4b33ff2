"""Draws training images by program: non-digits, redrawn digits, and digits in styles that MNIST lacks.

A classifier that has only seen digits confidently sees one in anything (Hein et al. 2019,
https://arxiv.org/abs/1812.05720). So training shows it letters and signs, shapes, scribbles, print, and digits that are
turned, joined or cut. And MNIST's writers, who were Americans, draw a 1 as a plain stroke; they would take one with an
upstroke for a 7. None of them slashed a zero.

`mix.py` adds all of this to a data set, as much as the config says. `digits.py` draws digits, in the styles of
`styles.py`; `negatives.py` draws non-digits, from fonts' letters (`characters.py`) and all kinds of shapes
(`doodles.py`); `hands.py` draws other people's digits and letters, from their strokes; `paper.py` adds rules and specks
to any of them. `canvas.py` has the pens and cameras.

All drawings are brought to MNIST's form as every picture is, by `draw_digit` of `digitjax.pictures`. But MNIST's digits
have the jagged edges of the scans they were made from. Smooth edges would give a drawing away at once, whatever it
shows, and the network would then doubt other people's digits too. So drawn edges are roughened at random, and some
digits are redrawn with smoothed edges or come from a font, as some letters do. Digits and non-digits alike are
sometimes photographed, on paper in uneven light.
"""
