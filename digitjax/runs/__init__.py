"""A run's folder: everything that training writes there, and how to read it back.

`files.py` names its files. `weights.py` keeps config, weights and calibration; `states.py` the states from which a
stopped run resumes (Orbax); `history.py` one line of figures per epoch. `hashes.py` finds damage, `folder.py` locks and
deletes, and `progress.py` shows how a run goes.
"""
