"""Loads data sets: uint8 images of 28x28 with int32 labels, split into train, validation and test.

In: TFDS's folder, IDX files, folders of pictures, downloads. Out: `Splits` of NumPy arrays.

`splits.py` loads any data set, mostly through a TFDS builder: `published.py` has those of MNIST and its relatives,
`folder.py` that of your own pictures, and `builders.py` their common code. `prepare.py` has TFDS prepare a data set
once, and `idx.py` reads MNIST's file format. `extra.py` loads additional training data: characters by other writers,
those of UNIPEN (`unipen.py`) as pen strokes. `arrays.py` defines the results, and imports nothing heavy.
`python -m digitjax.data` shows a data set.
"""
