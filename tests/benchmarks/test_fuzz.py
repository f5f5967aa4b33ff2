import io

import fuzz
import pytest
from PIL import Image


def test_the_whole_pictures_are_whole():
    whole = fuzz.draw_whole()
    assert len(whole) > 25
    for name, data in whole.items():
        if "bomb" not in name:
            with Image.open(io.BytesIO(data)) as image:
                assert image.size in ((40, 48), (27, 32)), name  # icons have sizes of their own


def test_a_seed_makes_the_same_files_again():
    whole = fuzz.draw_whole()
    files = [fuzz.make_file(3, i, whole) for i in range(200)]
    assert files == [fuzz.make_file(3, i, whole) for i in range(200)]
    assert files != [fuzz.make_file(4, i, whole) for i in range(200)]
    mutated = [data for name, data in files if data != whole[name]]
    assert 100 < len(mutated) < 200


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_hostile_files_are_answered_or_refused(count, tmp_path, capsys):
    assert fuzz.fuzz(count, seed=0, kept=tmp_path) == 0, capsys.readouterr().out
    assert f"{count:,} files" in capsys.readouterr().out


def raise_something(data):
    raise ValueError("not expected")


def test_any_other_error_is_told(monkeypatch):
    sent = []
    monkeypatch.setattr(fuzz, "preprocess_image", lambda data: None)
    monkeypatch.setattr(fuzz, "find_rows", raise_something)

    class Sink:
        send = staticmethod(sent.append)

    fuzz.read_files(Sink, 0, range(8))
    assert [outcome for _, outcome, _, _ in sent] == (["read"] * 3 + ["raised ValueError: not expected"]) * 2
