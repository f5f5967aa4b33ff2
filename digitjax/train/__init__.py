"""Training: a config and a data set in; averaged weights, their history and their states out.

In the order of their use: `batches.py` (images, an epoch's order, augmented batches), `loss.py`, `state.py` (the state
and its optimizer), `step.py` (one step), `rules.py` (learning rate, early stopping), `loop.py` (`fit`: epochs,
validation, checkpoints), and `calibrate.py` (temperature and threshold). `python -m digitjax.train` also evaluates the
result.
"""
