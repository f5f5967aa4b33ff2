"""Loads data sets: uint8 images of 28x28 with int32 labels, split into train, validation and test.

In: TFDS's folder, IDX files, folders of pictures, downloads. Out: `Splits` of NumPy arrays.

`splits.py` loads any of them, mostly through a TFDS builder: `published.py` has MNIST and its relatives, `folder.py`
your own pictures, `builders.py` what these share, `prepare.py` has TFDS prepare them once, `idx.py` reads the format of
MNIST's files. `extra.py` loads what training shows beside them: characters by other people's hands, those of UNIPEN
(`unipen.py`) as pen strokes. `arrays.py` defines what comes out, and imports nothing heavy. `python -m digitjax.data`
shows a data set.
"""
