"""Readers get every picture of a table, and are counted by what they should have found."""

import pytest
import reading

TABLE = """file,label,note
photo-1.png,7,
photo-2.png,none,
page-1.png,12|304,
page-2.png,55,faint
"""


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "labels.csv").write_text(TABLE)
    return reading.list_pictures([str(tmp_path)])


def test_pictures_are_counted_by_kind(pictures):
    texts = {"photo-1.png": "7", "photo-2.png": "3", "page-1.png": "12|34", "page-2.png": ""}
    asked = []

    def read(path, is_single):
        asked.append((path.name, is_single))
        return reading.Answer(texts[path.name], 0.9 if is_single else None)

    kinds = reading.measure(read, pictures, tell=False)["kinds"]
    assert asked[1:] == [("photo-1.png", True), ("photo-2.png", True), ("page-1.png", False), ("page-2.png", False)]
    assert {kind: figures["pictures"] for kind, figures in kinds.items()} == {
        "photo": 2, "page": 1, "page faint": 1, f"{pictures[0].path.parent.name}, all": 4,
    }  # fmt: skip
    assert kinds["photo"]["exact"] == 0.5
    assert kinds["page"] == pytest.approx({**kinds["page"], "exact": 0, "f1": 8 / 9})  # four of five found, none false
    assert kinds["page faint"]["nothing_found"] == 1


@pytest.mark.parametrize(
    ("text", "label", "score"),
    [("12|3", "123", 1), ("321", "123", 1), ("", "", 1), ("4", "", 0), ("", "4", 0), ("112", "12", 0.8)],
)
def test_digits_are_scored_wherever_they_stand(text, label, score):
    assert reading.score_digits(text, label) == pytest.approx(score)


def test_texts_beside_each_other_are_a_row():
    def box(left, top, right, bottom):
        return [(left, top), (right, top), (right, bottom), (left, bottom)]

    boxes = [box(200, 12, 250, 50), box(0, 10, 90, 52), box(0, 80, 90, 120), box(0, 150, 90, 190)]
    assert reading._join_rows(boxes, ["No. 4", "12-3", "total", "7"]) == "1234|7"


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: no labels\.csv is there"):
        reading.list_pictures([str(tmp_path / "nowhere")])
