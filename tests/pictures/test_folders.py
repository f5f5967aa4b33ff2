import os
import socket

import numpy as np
import pytest
from PIL import Image

from digitjax.pictures.folders import find_pictures, natural_order
from digitjax.pictures.gray import ImageError
from digitjax.pictures.source import load_picture

GRAY = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))


def fill(folder):
    """Fills a folder with all that people's folders hold; returns the names of what is a picture or named as one."""
    for name in ("10.png", "2.png", "B3.PNG", "b12.jpg", ".hidden.png", "._2.png", "deep/x.png/1.webp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        GRAY.save(folder / name, "PNG" if name.startswith("._") else None)
    GRAY.save(folder / "IMG_1.HEIC", "JPEG")
    GRAY.save(folder / "scan", "PNG")
    for name in ("notes.txt", "Thumbs.db", "empty", "BMW.txt"):
        (folder / name).write_bytes({"empty": b"", "BMW.txt": b"BMW and others"}.get(name, b"neither this nor that"))
    (folder / "empty.gif").touch()
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    os.mkfifo(folder / "pipe.png")
    os.mkfifo(folder / "pipe")
    (folder / "broken.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "link.png").symlink_to(folder / "2.png")
    (folder / "around").symlink_to(folder)
    return [
        "2.png", "10.png", "B3.PNG", "b12.jpg", "broken.jpg", "deep/x.png/1.webp", "empty.gif", "IMG_1.HEIC",
        "link.png", "loop.png", "pipe.png", "scan", "text.png",
    ]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pictures_are_known_by_content_or_name_and_come_in_natural_order(tmp_path):
    expected = fill(tmp_path)
    found = find_pictures(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found] == expected
    unread = {}
    for path in found:
        try:
            load_picture(path, 100)
        except ImageError as error:
            unread[path.name] = str(error).removeprefix(f"{path}: ")
    assert unread.keys() == {"broken.jpg", "empty.gif", "loop.png", "pipe.png", "text.png"}
    assert "No such file" in unread["broken.jpg"]
    assert "named pipe" in unread["pipe.png"]


def test_sockets_and_devices_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.png")
        with pytest.raises(ImageError, match=r"s\.png: is a socket"):
            load_picture("s.png", 100)
    with pytest.raises(ImageError, match="/dev/zero: is a device"):
        load_picture("/dev/zero", 100)


def test_natural_order_is_that_of_file_managers(tmp_path):
    names = ["a1", "A2", "a10", "b/2/1", "b/10/1", "c01", "c1x"]
    assert sorted([tmp_path / name for name in names[::-1]], key=natural_order) == [tmp_path / n for n in names]
