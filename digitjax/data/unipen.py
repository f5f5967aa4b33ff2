"""UNIPEN (Guyon et al. 1994): characters as pen strokes, by people from many countries.

Its files are text: `data/<category>/<donor>/*.dat` names files of pen data under `include/`, and says which of their
strokes make up which character. All of it is at https://doi.org/10.5281/zenodo.1195803, CC BY 4.0.
"""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from digitjax.data.arrays import DatasetError, Stroke
from digitjax.data.builders import ExtraBuilder

CATEGORIES = {"1a": "digits", "1b": "upper case", "1c": "lower case", "1d": "symbols"}
"""The categories of isolated characters."""


class Sample(NamedTuple):
    """A character as a pen wrote it."""

    strokes: list[Stroke]
    text: str
    donor: str  # who collected it, such as "val"
    writer: str  # "val/val02"
    category: str  # a key of `CATEGORIES`


_SEGMENT = re.compile(r'^\.SEGMENT\s+\S+\s+(\S+)\s+\S+\s+"((?:[^"\\]|\\.)*)"', re.MULTILINE)
_INCLUDE = re.compile(r"^\.INCLUDE\s+(\S+)", re.MULTILINE)
_WRITER = re.compile(r"^\.WRITER_ID\s+(\S+)", re.MULTILINE)
_NUMBER = re.compile(r"(?:^|[-,])(\d+)")
_KEYWORD = re.compile(r"^\.([A-Z_]+)", re.MULTILINE)
_SPAN = re.compile(r"(\d+)(?::(\d+))?(?:-(\d+)(?::(\d+))?)?$")


def read_characters(folder: Path) -> Iterator[Sample]:
    """Reads every isolated character, in the files' order; those whose pen data is missing or empty are left out.

    Args:
      folder: The folder that holds `data` and `include`, such as `train_r01_v07`.

    Raises:
      DatasetError: It holds no such files, or one isn't in UNIPEN's format.
    """
    paths = [
        (path, category) for category in CATEGORIES for path in sorted((folder / "data" / category).rglob("*.dat"))
    ]
    if not paths:
        raise DatasetError(f"{folder}: holds no isolated characters, in data/1a, 1b, 1c or 1d")
    for path, category in paths:
        yield from _read_file(folder, path, category)


def _read_file(folder: Path, path: Path, category: str) -> Iterator[Sample]:
    text = path.read_text("latin-1")
    segments = _SEGMENT.findall(text)
    included = [folder / "include" / name for name in _INCLUDE.findall(text)]
    pens = [_read_pen_file(pen_file) for pen_file in included if pen_file.is_file()]
    components = [component for pen in pens for component in pen.components]
    # Most donors skip components without points in the numbering; some count them.
    with_points = [component for component in components if len(component.points)]
    last = max((int(number) for span, _ in segments for number in _NUMBER.findall(span)), default=0)
    components = with_points if last < len(with_points) else components
    writer = next((pen.writer for pen in reversed(pens) if pen.writer), path.stem)
    donor = path.relative_to(folder / "data" / category).parts[0]
    for span, label in segments:
        try:
            strokes = _take(components, span)
        except (IndexError, ValueError):
            raise DatasetError(f"{path}: has no strokes {span!r}; it names {len(components)} in all") from None
        if strokes:
            yield Sample(strokes, re.sub(r"\\(.)", r"\1", label), donor, f"{donor}/{writer}", category)


class _Component(NamedTuple):
    is_down: bool  # whether the pen left ink
    points: Stroke  # there may be none


class _PenFile(NamedTuple):
    components: list[_Component]
    writer: str | None


@functools.lru_cache(maxsize=16)  # several files by one writer include the same ones
def _read_pen_file(path: Path) -> _PenFile:
    text = path.read_text("latin-1")
    components = []
    words = _KEYWORD.split(text)
    for keyword, content in zip(words[1::2], words[2::2], strict=True):
        if keyword in ("PEN_DOWN", "PEN_UP"):
            lines = [line.split()[:2] for line in content.splitlines() if line.strip()]
            try:
                points = np.array(lines, np.float32).reshape(-1, 2)
            except ValueError:
                raise DatasetError(f"{path}: below .{keyword} there must be points x y, found something else") from None
            points[:, 1] *= -1  # UNIPEN's y grows upwards
            components.append(_Component(keyword == "PEN_DOWN", points))
    writer = _WRITER.search(text)
    return _PenFile(components, writer[1] if writer else None)


def _take(components: list[_Component], span: str) -> list[Stroke]:
    """Returns the inked strokes of a span such as `3`, `3-5` or `3:10-4:20,7`: numbers of components and points."""
    strokes = []
    for piece in span.split(","):
        match = _SPAN.fullmatch(piece)
        if match is None:
            raise ValueError(piece)
        first, first_point, last, last_point = match.groups()
        start, stop = int(first), int(last or first)
        for number in range(start, stop + 1):
            is_down, points = components[number]
            begin = int(first_point) if first_point and number == start else 0
            end = int(last_point) + 1 if last_point and number == stop else len(points)
            if is_down and begin < min(end, len(points)):
                strokes.append(points[begin:end])
    return strokes


class Unipen(ExtraBuilder):
    """The isolated digits, letters and symbols: `points` of all strokes in a row, and the strokes' `lengths`."""

    name = "digitjax_unipen"
    FILES = ("train_r01_v07",)
    BY_HAND = (
        "get the archive from https://doi.org/10.5281/zenodo.1195803, unpack it, and name its folder by --extra-dir"
    )
    ABOUT = "UNIPEN, train_r01_v07: isolated characters as pen strokes. International Unipen Foundation, CC BY 4.0."
    HOMEPAGE = "https://doi.org/10.5281/zenodo.1195803"

    def _list_features(self) -> dict[str, Any]:
        texts = {name: tfds.features.Text() for name in ("text", "group", "writer", "category")}
        return {
            "points": tfds.features.Tensor(shape=(None, 2), dtype=np.float32),  # x, y; y grows downwards
            "lengths": tfds.features.Tensor(shape=(None,), dtype=np.int64),
            **texts,
        }

    def _read(self, paths: list[Path]) -> Iterator[dict[str, Any]]:
        for character in read_characters(paths[0]):
            yield {
                "points": np.concatenate(character.strokes),
                "lengths": np.array([len(stroke) for stroke in character.strokes], np.int64),
                "text": character.text,
                "group": character.donor,
                "writer": character.writer,
                "category": character.category,
            }
