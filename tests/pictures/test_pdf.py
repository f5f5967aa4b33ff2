import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digitjax.pictures.gray import ImageError
from digitjax.pictures.pdf import list_pages
from digitjax.pictures.source import load_picture


def draw_page(number):
    """A page with as many black bars as its number says, dark on white."""
    page = np.full((200, 100), 255, np.uint8)
    for i in range(number):
        page[20 + 30 * i : 30 + 30 * i, 20:80] = 0
    return Image.fromarray(page)


def make_pdf(num_pages):
    """Pages as a scanner puts them into a file, 100 dots an inch."""
    file = io.BytesIO()
    first, *rest = map(draw_page, range(1, num_pages + 1))
    first.save(file, "PDF", save_all=True, append_images=rest, resolution=100)
    return file.getvalue()


def test_each_page_is_a_picture(tmp_path):
    path = tmp_path / "scan.pdf"
    path.write_bytes(make_pdf(3))
    pages = list_pages(path)
    assert pages == [Path(f"{path}#page={number}") for number in (1, 2, 3)]
    for number, page in enumerate(pages, 1):
        picture = load_picture(page, 1000)
        assert (picture.width, picture.height) == (200, 400)  # 200 dots an inch
        expected = np.asarray(draw_page(number).resize((200, 400), Image.Resampling.NEAREST))
        assert np.abs(picture.gray - expected).mean() < 5


def test_a_pdf_of_one_page_is_one_picture(tmp_path):
    path = tmp_path / "scan"  # whatever its name
    path.write_bytes(make_pdf(1))
    assert list_pages(path) == [path]
    assert load_picture(path, 1000).gray.shape == (400, 200)
    assert load_picture(make_pdf(1), 1000).gray.shape == (400, 200)


def test_other_files_keep_their_names(tmp_path):
    for name in ("a.png", "b.txt", "nowhere.pdf"):
        if name != "nowhere.pdf":
            (tmp_path / name).write_bytes(b"%PNG")
        assert list_pages(tmp_path / name) == [tmp_path / name]
    named = tmp_path / "odd.pdf#page=2"  # a file's own name
    draw_page(1).save(named, "PNG")
    assert load_picture(named, 1000).gray.shape == (200, 100)


@pytest.mark.parametrize(
    ("content", "page", "message"),
    [
        (make_pdf(2), "", "is a PDF of 2 pages: name one"),
        (make_pdf(2), "#page=3", "has 2 pages, and no page 3"),
        (make_pdf(1)[:300], "", "is a PDF that can't be read"),
        (b"%PDF-1.7", "#page=1", "is a PDF that can't be read"),
        (b"text", "#page=1", "isn't a PDF, so it has no pages"),
    ],
)
def test_pages_that_cant_be_read(tmp_path, content, page, message):
    path = tmp_path / "scan.pdf"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"scan\.pdf{page}: {message}"):
        load_picture(f"{path}{page}", 1000)


def test_the_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(ImageError, match=r"pip install 'digitjax\[pdf\]'"):
        load_picture(make_pdf(1), 1000)
