"""Which files of a folder are pictures, in the order that people see them in."""

import re
import warnings
from pathlib import Path

from PIL import Image

from digitjax.pictures import pdf
from digitjax.pictures.source import FORMATS, HEIC_SUFFIXES


def find_pictures(folder: Path) -> list[Path]:
    """Returns the pictures in a folder and below, in natural order.

    A picture is what begins as one, whatever its name, and what is named as one, so that it is not passed over in
    silence if it can't be read: a damaged file, a broken link, a named pipe; so is a folder that can't be entered.
    Hidden files are none.
    """
    return sorted(filter(_is_picture, _walk(folder)), key=natural_order)


def natural_order(path: Path) -> tuple[list[str | int], ...]:
    """Returns a key that sorts paths as file managers do: 2 before 10, whatever the case of letters."""
    return tuple(
        [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.casefold())] for name in path.parts
    )


def _walk(folder: Path) -> list[Path]:
    """Returns what lies in a folder and below, but hidden things; folders that are links aren't entered.

    A folder below that can't be entered stands for itself.
    """
    found = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        try:
            found += _walk(path) if path.is_dir() and not path.is_symlink() else [path]
        except PermissionError:
            found.append(path)
    return found


def _is_picture(path: Path) -> bool:
    if path.is_dir():
        return not path.is_symlink()  # the others can't be entered, and opening one will say why
    suffix = path.suffix.lower()
    if suffix in (".pdf", *HEIC_SUFFIXES) or Image.registered_extensions().get(suffix) in FORMATS:
        return True
    return path.is_file() and _begins_as_picture(path)  # a pipe isn't opened, which could wait for ever


def _begins_as_picture(path: Path) -> bool:
    """Whether a file is a PDF, or Pillow takes it for a picture by its header."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            if file.read(len(pdf.HEAD)) == pdf.HEAD:
                return True
            warnings.simplefilter("ignore")  # of large pictures
            Image.open(file, formats=FORMATS)
    except Exception:  # noqa: BLE001 - Pillow's plugins raise whatever other files make them stumble over
        return False
    return True
