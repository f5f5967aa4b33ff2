"""Measures predictions, and shows the result.

In: predictions with their true labels, or a run's folder. Out: a `Report`, plots, one page.

`measures.py` compares predictions with the truth, `plots.py` draws, and `page.py` puts all of a run into `report.html`,
as `python -m digitjax.report` does at any time.
"""
