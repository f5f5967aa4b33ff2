"""Finds the pictures in a folder, in the order that file managers show them in."""

import re
import warnings
from pathlib import Path

from PIL import Image

from digitjax.pictures import pdf
from digitjax.pictures.source import FORMATS, HEIC_SUFFIXES


def find_pictures(folder: Path) -> list[Path]:
    """Returns the pictures in a folder and below, in natural order.

    A file counts as a picture by its first bytes or by its name. So one that can't be read isn't silently skipped: a
    damaged file, a broken link, a named pipe. A folder that can't be entered counts too; hidden files don't.
    """
    return sorted(filter(_is_picture, _walk(folder)), key=natural_order)


def natural_order(path: Path) -> tuple[list[str | int], ...]:
    """Returns a key that sorts paths as file managers do: 2 before 10, ignoring case."""
    return tuple(
        [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.casefold())] for name in path.parts
    )


def _walk(folder: Path) -> list[Path]:
    """Lists everything in and below a folder except hidden entries; folders that are links aren't followed.

    A subfolder that can't be entered is listed itself.
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
        return not path.is_symlink()  # the other folders can't be entered; opening one will say why
    suffix = path.suffix.lower()
    if suffix in (".pdf", *HEIC_SUFFIXES) or Image.registered_extensions().get(suffix) in FORMATS:
        return True
    return path.is_file() and _begins_as_picture(path)  # opening a pipe could block forever


def _begins_as_picture(path: Path) -> bool:
    """Whether a file's header is that of a PDF or of a picture that Pillow reads."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            if file.read(len(pdf.HEAD)) == pdf.HEAD:
                return True
            warnings.simplefilter("ignore")  # about large pictures
            Image.open(file, formats=FORMATS)
    except Exception:  # noqa: BLE001 - Pillow's plugins raise all kinds of errors on other files
        return False
    return True
