"""What a run leaves in its folder, and how it is read again.

`files.py` has all names. `weights.py` keeps config, weights and calibration, `states.py` the states that a stopped run
goes on from (Orbax), `history.py` a line of figures an epoch; `hashes.py` finds damage, `folder.py` locks and deletes.
`progress.py` shows people how a run goes.
"""
