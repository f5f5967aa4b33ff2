"""Training: a config and a data set in, averaged weights, their history and their states out.

The way, file by file: `batches.py` (images -> an epoch's order -> augmented batches), `loss.py`, `state.py` (the state
and its optimiser), `step.py` (one step), `loop.py` (`fit`: epochs, validation, checkpoints), `calibrate.py`
(temperature and threshold). `python -m digitjax.train` does all of it and evaluates the result.
"""
