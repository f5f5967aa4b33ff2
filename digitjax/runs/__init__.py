"""A run's folder: everything that training leaves there, and how it is read again.

`files.py` names its files. `weights.py` keeps config, weights and calibration; `states.py` the states from which a
stopped run goes on (Orbax); `history.py` one line of figures per epoch. `hashes.py` finds damage, `folder.py` locks and
deletes, and `progress.py` shows how a run goes.
"""
