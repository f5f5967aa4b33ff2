"""Pictures as people have them -> what a network sees of them; nothing here knows of networks.

In comes any file, PIL image or array; out come 28x28 images drawn as MNIST draws, each with its bounding box. The way:
`source.py` opens, `gray.py` finds the brightness, `ink.py` the contrast with the ground, `strokes.py` what is written
(without what `rules.py` finds), and `preprocess.py` draws one digit anew. `segment.py` and `cut.py` propose the digits
of a picture that holds many. `shapes.py` has the measures that all of them take.
"""
