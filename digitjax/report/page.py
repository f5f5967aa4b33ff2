"""A one-page report of a training run: figures, history, confusion matrix, mistakes and config in `report.html`.

The page contains its pictures and loads nothing from elsewhere, so it can be sent and kept. For an unfinished run, it
shows what there is so far.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from digitjax.config import TrainConfig
from digitjax.runs.files import RunFile, read_json, write_text
from digitjax.runs.history import read_history
from digitjax.runs.weights import load_config

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --quiet: light-dark(#5c5c5c, #a8a8a8); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#fff, #16181c); color: light-dark(#1c1c1c, #e6e6e6); }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
p.quiet, td.quiet { color: var(--quiet); }
dl { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 1.5rem 0; }
dl div { background: var(--soft); border-radius: 0.5rem; padding: 0.6rem 1rem; }
dt { font-size: 0.85rem; color: var(--quiet); } dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
img { max-width: 100%; border-radius: 0.5rem; border: 1px solid var(--line); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin-top: 1rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.2rem 0.8rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
</style>
</head>
<body>
<h1>$title</h1>
$body
</body>
</html>
""")

_LOSSES = """<p class="quiet">The validation loss is what training minimises, without label smoothing: it is
computed from the network's plain answers, "no digit" included, before calibration. The test loss is computed from the
probabilities that prediction returns: calibrated, with second looks, given that there is a digit.</p>"""


def render_report(folder: Path) -> str:
    """Returns the page of a run's folder, as HTML that needs no other file.

    Raises:
      DigitjaxError: It isn't a run's folder, or a file in it can't be read; the message names it.
    """
    config, history = load_config(folder), read_history(folder)
    report = read_json(folder / RunFile.REPORT)
    parts = []
    if not (folder / RunFile.CALIBRATION).exists():
        parts += [f'<p class="quiet">This run is still going, or was stopped: {len(history)} epochs are done.</p>']
    if report:
        parts += [_render_summary(report, history)]
    if history:
        parts += ["<h2>History</h2>", _render_picture(folder / RunFile.HISTORY, "Loss and error after each epoch")]
        parts += [_LOSSES]
        parts += [f"<details><summary>every epoch</summary>{_render_history(history)}</details>"]
    if report:
        parts += ["<h2>Confusion matrix</h2>", _render_picture(folder / RunFile.CONFUSION_MATRIX, "Confusion matrix")]
        parts += [_render_classes(report["per_class"])]
        parts += ["<h2>Mistakes</h2>", _render_picture(folder / RunFile.MISTAKES, "What was read wrongly")]
    parts += ["<h2>Config</h2>", _render_config(config)]
    return _PAGE.substitute(title=escape(f"{config.model} on {config.dataset}"), body="\n".join(parts))


def write_report(folder: Path) -> Path:
    """Writes `report.html` into a run's folder, and returns its path.

    Raises:
      DigitjaxError: As in `render_report`.
    """
    path = folder / RunFile.PAGE
    write_text(path, render_report(folder))
    return path


def _render_summary(report: dict[str, Any], history: Sequence[dict[str, Any]]) -> str:
    figures = {
        "test accuracy": f"{report['accuracy']:.2%}",
        "mistakes": f"{round(report['error'] * report['num_examples']):,} of {report['num_examples']:,}",
        "without the least sure 1 %": f"{report['accuracy_at_99']:.2%}",
        "test loss, calibrated": f"{report['loss']:.4f}",
        "calibration error (ECE)": f"{report['ece']:.4f}",
        "Brier score": f"{report['brier']:.4f}",
        "training": f"{sum(record['seconds'] for record in history):,.1f} s",
    }
    if rejection := report["rejection"]:
        figures["digits accepted"] = f"{rejection['accepted']:.1%}"
        figures["drawings without a digit refused"] = f"{rejection['refused']:.1%}"
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items()) + "</dl>"


def _render_picture(path: Path, about: str) -> str:
    if not path.exists():
        return ""
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{about}" src="data:image/png;base64,{content}">'


def _render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _render_history(history: Sequence[dict[str, Any]]) -> str:
    head = ("epoch", "loss", "accuracy", "validation loss", "validation accuracy", "learning rate", "seconds")
    rows = [
        (
            f"{record['epoch']}",
            f"{record['loss']:.4f}",
            f"{record['accuracy']:.2%}",
            f"{record['validation_loss']:.4f}",
            f"{record['validation_accuracy']:.2%}",
            f"{record['learning_rate']:.2g}",
            f"{record['seconds']:.1f}",
        )
        for record in history
    ]
    return _render_table(head, rows)


def _render_classes(per_class: dict[str, dict[str, float]]) -> str:
    rows = [
        (name, f"{s['precision']:.2%}", f"{s['recall']:.2%}", f"{s['f1']:.2%}", f"{s['support']:,}")
        for name, s in per_class.items()
    ]
    return _render_table(("class", "precision", "recall", "f1", "support"), rows)


def _render_config(config: TrainConfig) -> str:
    values, defaults = config.list_options(), TrainConfig().list_options()
    rows = [
        (name, str(value), "" if value == defaults[name] else str(defaults[name])) for name, value in values.items()
    ]
    return _render_table(("field", "value", "default, if different"), rows)
