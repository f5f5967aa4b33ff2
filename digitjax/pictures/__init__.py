"""Turns any picture into what a network sees. Nothing here knows about networks.

In: files, PIL images, arrays. Out: 28x28 images drawn as MNIST's are, each with its bounding box.

`source.py` opens a picture and `gray.py` finds its brightness; `ink.py` finds the contrast with the background, and
`strokes.py` the strokes, without the paper's lines, which `rules.py` finds. `preprocess.py` redraws one digit;
`segment.py` and `cut.py` propose the digits of a picture that holds several. `shapes.py` has the measurements that they
all use.
"""
