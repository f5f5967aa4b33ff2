"""Networks: images of 28x28 -> logits -> answers. What they are trained on, and by whom asked, isn't known here.

`networks.py` are the networks, of `layers.py` and `winograd.py`, which are fast on the CPU; `inference.py` has any
number of images go through, `looks.py` a second time where that helps, `answers.py` says what logits mean,
`saliency.py` which ink decided. For training `augment.py` and `spoil.py` change images on the device; `devices.py`
divides work among devices and processes.
"""
