"""The networks, and what makes them fast. Nothing here knows about pictures, data sets or runs.

In: 28x28 images. Out: logits, and what they mean.

`networks.py` has the networks, built on `layers.py` and `winograd.py`, which are fast on a CPU. `inference.py` runs any
number of images, `looks.py` looks again where an answer is unsure, `answers.py` says what logits mean, and
`saliency.py` shows which ink decided. Training uses `augment.py` and `spoil.py`, which change images on the device;
`devices.py` divides work among devices and processes.
"""
