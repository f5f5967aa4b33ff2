"""The plots of a run, and helpers for all plots.

Figures are made as objects, without pyplot: no global state, no display needed. They are readable on light and dark
pages alike, because each has a white background.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from digitjax.config import CENTER, SIZE
from digitjax.report.measures import Evaluation, Report
from digitjax.runs.files import replace_file
from digitjax.runs.history import Record

BLUE, ORANGE, GRAY = "#1f5fa8", "#d9650a", "#6b6b6b"
MAX_MISTAKES = 60
COLUMNS = 10


def save_figure(path: Path, figure: Figure) -> None:
    """Writes a figure, replacing an earlier one; the suffix decides the format, PNG without one."""
    with replace_file(path) as fresh:
        figure.savefig(fresh, dpi=120, format=path.suffix[1:] or "png")


def save_history(path: Path, history: Sequence[Record], title: str) -> None:
    """Draws loss and error over the epochs, for the training and the validation images."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    loss_axes, error_axes = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    for axes, name, convert in ((loss_axes, "loss", float), (error_axes, "accuracy", _error_percent)):
        for prefix, label, color in (("", "training (augmented)", GRAY), ("validation_", "validation", BLUE)):
            values = [convert(record[prefix + name]) for record in history]
            axes.plot(epochs, values, color=color, label=label, marker="o", markersize=3.5)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    loss_axes.set_ylabel("loss")
    loss_axes.set_ylim(bottom=0)
    loss_axes.legend()
    error_axes.set_ylabel("error")
    error_axes.set_yscale("log")
    error_axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    error_axes.yaxis.set_major_formatter(PercentFormatter())
    error_axes.yaxis.set_minor_formatter(NullFormatter())
    save_figure(path, figure)


def _error_percent(accuracy: float) -> float:
    """Returns the error for a logarithmic axis, which can't show 0."""
    return max(100 * (1 - accuracy), 0.01)


def save_confusion_matrix(path: Path, report: Report) -> None:
    """Draws the confusion matrix; the colours show only mistakes, which the diagonal would drown out."""
    matrix = np.array(report.confusion_matrix)
    n = len(matrix)
    mistakes = np.where(np.eye(n, dtype=bool), 0, matrix)
    size = max(6.4, 0.3 * n)
    figure = Figure(figsize=(size, size - 0.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(int(mistakes.max()), 1) * 1.4)
    for row in range(n):
        for column in range(n):
            if count := matrix[row, column]:
                on_diagonal = row == column
                axes.text(
                    column, row, f"{count}", ha="center", va="center", fontsize=9 if n <= 10 else 7,
                    color=GRAY if on_diagonal else "black", weight="normal" if on_diagonal else "bold",
                )  # fmt: skip
    names = list(report.per_class)
    name_ticks(axes.xaxis, names)
    name_ticks(axes.yaxis, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(
        f"{report.model} on {report.dataset}: {report.accuracy:.2%} of {report.num_examples:,} right", fontsize=12
    )
    save_figure(path, figure)


def save_mistakes(path: Path, evaluation: Evaluation) -> None:
    """Draws the misread images, the surest mistakes first."""
    wrong = np.flatnonzero(evaluation.preds != evaluation.labels)
    wrong = wrong[np.argsort(-evaluation.confidences[wrong], kind="stable")]
    report, shown = evaluation.report, wrong[:MAX_MISTAKES]
    title = f"{report.model} on {report.dataset}: {len(wrong)} of {report.num_examples:,} wrong"
    if len(shown) < len(wrong):
        title += f", the {len(shown)} surest"
    names = list(report.per_class)
    captions = []
    for i in shown:
        is_refused = evaluation.preds[i] == len(names)
        read = "no digit" if is_refused else f"{names[evaluation.preds[i]]}"
        sureness = "" if is_refused else f"{evaluation.confidences[i]:.0%}, "
        captions.append(f"{names[evaluation.labels[i]]} read as {read}\n{sureness}#{i}")
    rows = [evaluation.images[shown[start : start + COLUMNS]] for start in range(0, max(len(shown), 1), COLUMNS)]
    figure = Figure(figsize=(11, 1.1 * len(rows) + 0.5), layout="constrained")
    figure.suptitle(title)
    _draw_sheet(figure.subplots(), rows, 9, captions)
    save_figure(path, figure)


def save_sheet(path: Path, rows: Sequence[NDArray[np.uint8]], title: str) -> None:
    """Draws the first ten images, [n, 28, 28], of each row."""
    figure = Figure(figsize=(7, 0.7 * len(rows) + 0.6), layout="constrained")
    figure.suptitle(title)
    _draw_sheet(figure.subplots(), [images[:COLUMNS] for images in rows], 4)
    save_figure(path, figure)


def _draw_sheet(axes: Axes, rows: Sequence[NDArray[Any]], gap: int, captions: Sequence[str] = ()) -> None:
    """Draws rows of 28x28 images, each with a gap above it for a caption, and half a gap on either side.

    All are drawn as one image: separate axes would take a second for every twenty.
    """
    pitch = SIZE + gap
    sheet = np.zeros((len(rows) * pitch, COLUMNS * pitch), np.uint8)
    places = []
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = row * pitch + gap, column * pitch + gap // 2
            sheet[top : top + SIZE, left : left + SIZE] = image
            places.append((left + CENTER, top))
    for (x, y), caption in zip(places, captions, strict=False):
        axes.text(x, y, caption, ha="center", va="bottom", fontsize=7.5, in_layout=False)
    show_ink(axes, sheet)
    axes.axis("off")


def name_ticks(axis: Axis, names: Sequence[str]) -> None:
    """Writes a name at each tick; long ones below an axis are vertical."""
    is_upright = isinstance(axis, XAxis) and max(map(len, names)) > 2
    axis.set_ticks(range(len(names)), names, rotation="vertical" if is_upright else "horizontal")


def show_ink(axes: Axes, image: NDArray[Any]) -> None:
    """Draws a 28x28 image as ink on paper, pixel by pixel."""
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
