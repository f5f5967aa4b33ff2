"""Renders pages of PDF files, such as scanners make, as pictures."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from digitjax.pictures.gray import ImageError

HEAD = b"%PDF-"

# Enough for digits a twelfth of an inch high; and the limit for large pages, such as posters.
DOTS_PER_INCH, MAX_PAGE_PIXELS = 200, 40_000_000
POINTS_PER_INCH = 72

# A page's name: the file's, followed by RFC 8118's fragment.
_PAGE = re.compile(r"(?P<file>.+)#page=(?P<number>[1-9]\d*)")


def list_pages(path: Path) -> list[Path]:
    """Returns names for the pages of a PDF, such as `scan.pdf#page=2`; any other file keeps its own.

    So does a PDF with one page, or one that can't be read: reading it will say why. Files with a picture's suffix
    aren't opened, since there may be millions; nor are pipes, which could block forever.
    """
    if Image.registered_extensions().get(path.suffix.lower(), "PDF") != "PDF" or not path.is_file():
        return [path]
    try:
        with path.open("rb") as file:
            if file.read(len(HEAD)) != HEAD:
                return [path]
        with _open(path) as document:
            num_pages = len(document)
    except (OSError, ImageError):
        return [path]
    return [path] if num_pages == 1 else [Path(f"{path}#page={number}") for number in range(1, num_pages + 1)]


def split_page(path: Path) -> tuple[Path, int | None]:
    """Returns a page's file and its number, from 1, or None if the path names no page."""
    match = _PAGE.fullmatch(str(path))
    return (Path(match["file"]), int(match["number"])) if match and not path.exists() else (path, None)


def render_page(content: bytes, number: int | None) -> Image.Image:
    """Returns a page as a picture, upright.

    Args:
      content: The PDF.
      number: Which page, from 1; None for the only one.

    Raises:
      ImageError: The PDF can't be read, has no such page, or has several and none was named.
    """
    with _open(content) as document:
        if number is None and len(document) > 1:
            raise ImageError(f"is a PDF of {len(document)} pages: name one, as in scan.pdf#page=2")
        if (index := (number or 1) - 1) >= len(document):
            raise ImageError(f"has {len(document)} pages, and no page {number}")
        page = document[index]
        width, height = page.get_size()
        scale = min(DOTS_PER_INCH / POINTS_PER_INCH, (MAX_PAGE_PIXELS / (width * height)) ** 0.5)
        return page.render(scale=scale).to_pil()


@contextlib.contextmanager
def _open(source: Path | bytes) -> Iterator[Any]:
    try:
        import pypdfium2
    except ImportError:
        raise ImageError("is a PDF: pip install 'digitjax[pdf]' to read it") from None
    try:
        document = pypdfium2.PdfDocument(source)
        try:
            yield document
        finally:
            document.close()
    except pypdfium2.PdfiumError as error:
        raise ImageError(f"is a PDF that can't be read: {error}") from None
