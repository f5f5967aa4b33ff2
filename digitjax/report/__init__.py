"""What is told of a run once it is measured: figures, plots, and one page with all of it.

`measures.py` compares predictions with the truth, `plots.py` draws, `page.py` writes `report.html`, which
`python -m digitjax.report` does at any time.
"""
