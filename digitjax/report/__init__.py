"""Measures predictions, and shows the result.

In: predictions with their true labels, or a run's folder. Out: a `Report`, plots, one page.

`measures.py` compares predictions with the truth, `plots.py` draws, and `page.py` puts a whole run into `report.html`;
`python -m digitjax.report` does that at any time.
"""
