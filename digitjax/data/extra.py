"""Data sets of other hands, which training shows beside the one that it is tested on."""

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int
from PIL import Image

from digitjax.config import ExtraName
from digitjax.data.arrays import Character, DatasetError
from digitjax.data.builders import ExtraBuilder, ExtraImageBuilder
from digitjax.data.idx import read_content
from digitjax.data.prepare import open_source
from digitjax.data.unipen import Unipen
from digitjax.pictures.preprocess import draw_digit

_UCI = "https://archive.ics.uci.edu/dataset"


class Optdigits(ExtraImageBuilder):
    """Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998): digits of 30 Turks, in bitmaps of 32x32.

    The files mix the writers and name none. Those of 13 others, `optdigits-orig.windep`, are left alone: scikit-learn
    bundles them, as `--dataset digits`.
    """

    name = "digitjax_optdigits"
    FILES = ("optdigits-orig.[ct]*",)  # .tra, .cv
    BY_HAND = f"get it from {_UCI}/80, unpack optdigits-orig.tra and .cv, and name their folder by --extra-dir"
    ABOUT = "Optical Recognition of Handwritten Digits, the bitmaps of 30 writers. E. Alpaydin, C. Kaynak, CC BY 4.0."
    HOMEPAGE = f"{_UCI}/80"

    def _read(self, paths: list[Path]) -> Iterator[dict[str, Any]]:
        for path in paths:
            digits = re.findall(r"((?:[01]{32}\s+){32})\s*(\d)\b", _read_text(path))
            if not digits:
                raise DatasetError(f"{path}: holds no bitmaps: 32 lines of 0 and 1 each, then a digit")
            for i, (bitmap, text) in enumerate(digits):
                ink = np.array([list(line) for line in bitmap.split()], np.float32)
                yield _make_example(ink, text, f"{path.name} {i}")


class Semeion(ExtraImageBuilder):
    """Semeion Handwritten Digit (Buscema 1998): by 80 Italians, each digit once carefully and once fast, 16x16.

    The digits stand in groups of 200, by ten writers each.
    """

    name = "digitjax_semeion"
    FILES = ("semeion.data*",)
    BY_HAND = f"get semeion.data from {_UCI}/178, and name its folder by --extra-dir"
    ABOUT = "Semeion Handwritten Digit. Semeion Research Center of Sciences of Communication, CC BY 4.0."
    HOMEPAGE = f"{_UCI}/178"

    def _read(self, paths: list[Path]) -> Iterator[dict[str, Any]]:
        try:
            table = np.array([line.split() for line in _read_text(paths[0]).split("\n") if line.strip()], np.float32)
            bitmaps, classes = table[:, :256].reshape(-1, 16, 16), table[:, 256:266].reshape(-1, 10)
        except ValueError:
            raise DatasetError(f"{paths[0]}: must hold 266 numbers a line: 16x16 pixels, ten classes") from None
        for i, (bitmap, label) in enumerate(zip(bitmaps, classes.argmax(-1), strict=True)):
            yield _make_example(bitmap, str(label), f"writers {i // 200}")


class Omniglot(ExtraImageBuilder):
    """Omniglot (Lake et al. 2015): characters of eight scripts, each by 20 people with a mouse; none is a digit."""

    name = "digitjax_omniglot"
    URL = "https://github.com/brendenlake/omniglot/raw/master/python/"
    FILES = ("images_background_small1.zip", "images_background_small2.zip")
    BY_HAND = f"put {FILES[0]} and {FILES[1]} into a folder and name it by --extra-dir"
    ABOUT = "Omniglot, the two small background sets. Brenden Lake, MIT licence."
    HOMEPAGE = "https://github.com/brendenlake/omniglot"

    def _read(self, paths: list[Path]) -> Iterator[dict[str, Any]]:
        seen = set()
        for path in paths:
            try:
                with zipfile.ZipFile(path) as archive:
                    files = {name: archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".png")}
            except zipfile.BadZipFile as error:
                raise DatasetError(f"{path}: is not a zip archive, or a damaged one: {error}") from None
            for name, content in files.items():
                _, *character, file = name.split("/")
                if (key := (*character, file)) not in seen:  # both archives hold Greek and Latin
                    seen.add(key)
                    ink = 1 - np.asarray(Image.open(io.BytesIO(content)).convert("1"), np.float32)
                    yield _make_example(ink, "/".join(character), f"drawer {Path(file).stem[-2:]}")


EXTRA_BUILDERS: dict[ExtraName, type[ExtraBuilder]] = {
    "unipen": Unipen,
    "optdigits": Optdigits,
    "semeion": Semeion,
    "omniglot": Omniglot,
}
"""The builders by the names that `--extra-datasets` gives them."""


def _make_example(ink: Float32[np.ndarray, "h w"], text: str, group: str) -> dict[str, Any]:
    # TFDS encodes arrays with TensorFlow, but PIL images without.
    return {"image": Image.fromarray(draw_digit(255 * ink, ink > 0)), "text": text, "group": group}


def _read_text(path: Path) -> str:
    content = read_content(path)
    if content[:2] == b"\x1f\x9d":
        raise DatasetError(f"{path}: is compressed by compress(1): unpack it with gzip -d")
    return content.decode("latin-1")


# ---------------------------------------------------------------- loading

# In how many parts the writers are divided, of which one is held out.
FOLDS = 5


def load_extra(
    names: Sequence[ExtraName], data_dir: Path | None = None, folder: Path | None = None, *, fold: int = 0
) -> tuple[list[Character], list[Character]]:
    """Loads data sets of other hands: what training shows, and a fifth, by writers whom it never sees.

    Of UNIPEN whole donors are held out, of Semeion ten writers at a time, of Omniglot people who drew. Optdigits
    doesn't tell its writers, so there the same may stand on both sides.

    Args:
      names: Which ones.
      data_dir: TFDS's folder; None for TFDS's own default.
      folder: Where their files lie, side by side or in a folder each; None: those that can be are downloaded.
      fold: Which fifth is held out, 0 to 4.

    Raises:
      DatasetError: One can't be had, or a file of it is wrong.
    """
    shown: list[Character] = []
    held_out: list[Character] = []
    for name in names:
        with open_source(EXTRA_BUILDERS[name](data_dir=data_dir, folder=folder), name) as source:
            examples = source["train"].__getitems__(list(range(len(source["train"]))))
        folds = assign_folds([example["group"].decode() for example in examples])
        for example, is_held_out in zip(examples, folds == fold, strict=True):
            (held_out if is_held_out else shown).append(_read_example(example, name))
    return shown, held_out


def _read_example(example: dict[str, Any], name: str) -> Character:
    text = example["text"].decode()
    if "image" in example:
        return Character(text, example["image"][..., 0], name)
    strokes = np.split(example["points"], np.cumsum(example["lengths"])[:-1])
    return Character(text, tuple(strokes), name, example["writer"].decode())


def assign_folds(groups: Sequence[str]) -> Int[np.ndarray, "n"]:
    """Returns the fold of each example: from the largest group to the smallest they are dealt out, the last fold first.

    So fold 0, which most runs hold out, gets none of the very largest.
    """
    names, numbers, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    folds = np.empty(len(names), int)
    folds[np.argsort(-counts, kind="stable")] = FOLDS - 1 - np.arange(len(names)) % FOLDS
    return folds[numbers]
