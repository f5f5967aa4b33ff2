"""Turns any picture into what a network sees. Nothing here knows of networks.

In: files, PIL images, arrays. Out: 28x28 images drawn as MNIST draws, each with its bounding box.

`source.py` opens a picture and `gray.py` finds its brightness; `ink.py` finds the contrast with the background, and
`strokes.py` what is written, without the paper's lines that `rules.py` finds. `preprocess.py` draws one digit anew;
`segment.py` and `cut.py` propose the digits of a picture that holds several. `shapes.py` has the measures that all of
them use.
"""
