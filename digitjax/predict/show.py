"""Draws how pictures were read; a module of its own because it imports matplotlib."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from digitjax.pictures.source import ImageSource, load_picture
from digitjax.predict.recognizer import Recognizer
from digitjax.predict.results import Prediction
from digitjax.report.plots import BLUE, ORANGE, name_ticks, save_figure, show_ink

# Pictures are shown with at most this many pixels a side.
SHOWN_SIZE = 512

# A longer file name would run into the title beside it.
MAX_NAME = 30


def save_predictions(path: Path, recognizer: Recognizer, shown: Sequence[tuple[str, ImageSource, Prediction]]) -> None:
    """Draws a row per picture: the picture with its ink's box, what the model saw, which ink decided, and the answer.

    Args:
      path: The PNG file.
      recognizer: The recognizer that read them.
      shown: The name of each picture, the picture itself, and what it was read as.
    """
    figure = Figure(figsize=(9.5, 2.4 * max(len(shown), 1)), layout="constrained")
    grid = figure.subplots(max(len(shown), 1), 4, squeeze=False, width_ratios=(1, 1, 1, 1.6))
    for axes in grid[len(shown) :].flat:
        axes.axis("off")
    for row, (name, source, prediction) in zip(grid, shown, strict=False):
        picture_axes, canonical_axes, saliency_axes, bars_axes = row
        picture, saliency = load_picture(source, SHOWN_SIZE), recognizer.explain(prediction)
        extent = (-0.5, picture.width - 0.5, picture.height - 0.5, -0.5)  # boxes are in the picture's own pixels
        picture_axes.imshow(picture.gray, cmap="gray", vmin=0, vmax=255, extent=extent)
        if prediction.box:
            left, top, right, bottom = prediction.box
            picture_axes.add_patch(
                Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color=ORANGE, linewidth=1.5)
            )
        file = Path(name).name
        picture_axes.set_title(file if len(file) <= MAX_NAME else f"…{file[1 - MAX_NAME :]}", fontsize=9)
        show_ink(canonical_axes, prediction.canonical)
        canonical_axes.set_title("what the model sees", fontsize=9)
        show_ink(saliency_axes, prediction.canonical / 3)
        strength = np.abs(saliency) / max(float(np.abs(saliency).max()), 1e-6)
        colors = np.where(saliency[..., None] > 0, to_rgb(ORANGE), to_rgb(BLUE))
        saliency_axes.imshow(np.concatenate([colors, strength[..., None]], axis=-1), interpolation="nearest")
        saliency_axes.set_title("for (orange) and against (blue)", fontsize=9)
        for axes in (picture_axes, canonical_axes, saliency_axes):
            axes.axis("off")
        bars = [ORANGE if class_name == prediction.label else BLUE for class_name in recognizer.class_names]
        bars_axes.bar(range(len(bars)), prediction.probabilities, color=bars)
        name_ticks(bars_axes.xaxis, recognizer.class_names)
        bars_axes.set_ylim(0, 1)
        answer = f"{prediction.label} ({prediction.confidence:.1%})" if prediction.reason is None else prediction.reason
        bars_axes.set_title(answer, fontsize=11, weight="bold")
    save_figure(path, figure)
