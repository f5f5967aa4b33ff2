"""Data sets -> arrays: uint8 images of 28x28 and int32 labels, in the splits train, validation and test.

`splits.py` loads any of them, by a TFDS builder: `published.py` has MNIST and its relatives, `folder.py` pictures of
one's own, `builders.py` what these share, `idx.py` the format of MNIST's files. `arrays.py` is what comes out, and
loads nothing heavy. `python -m digitjax.data` shows a data set.
"""
