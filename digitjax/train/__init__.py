"""Training: takes a config and a data set; gives averaged weights, their history and their states.

Each file builds on those before it: `schedule.py` (learning rate, early stopping), `state.py` (the state and its
optimizer), `batches.py` (images, an epoch's order, augmented batches), `loss.py`, `step.py` (one step), `loop.py`
(`fit`: epochs, validation, checkpoints), and `calibrate.py` (temperature and threshold). `python -m digitjax.train`
also evaluates the result.
"""
