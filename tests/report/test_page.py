import base64
import html.parser
import json
import shutil

import pytest

from digitjax.config import TrainConfig
from digitjax.report import __main__ as command
from digitjax.report.page import render_report


class Page(html.parser.HTMLParser):
    """The text of a page, its tables, and what it refers to."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.references, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


def test_the_page_of_a_run_holds_all_of_it(run):
    page = Page(render_report(run))
    assert not page.open
    # The three pictures, byte for byte, and nothing from elsewhere.
    pictures = [base64.b64decode(reference.removeprefix("data:image/png;base64,")) for reference in page.references]
    names = ("history.png", "confusion_matrix.png", "mistakes.png")
    assert pictures == [(run / name).read_bytes() for name in names]
    assert "http" not in render_report(run)
    results = json.loads((run / "report.json").read_text())
    wrong = results["num_examples"] - sum(results["confusion_matrix"][i][i] for i in range(10))
    assert f"{wrong} of 400" in page.words
    text = " ".join(page.words)
    assert "test loss, calibrated" in text
    assert "The validation loss is what training minimises" in text  # so nobody compares the two
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["7"][3] == str(sum(results["confusion_matrix"][7]))
    assert rows["model"] == ["mlp", "default"]
    assert rows["learning_rate"] == [str(TrainConfig().learning_rate)]
    assert (run / "report.html").read_text() == render_report(run)  # as training left it


def test_a_run_that_was_stopped_shows_what_there_is(run, tmp_path):
    for name in ("config.json", "metrics.jsonl", "history.png"):
        shutil.copy(run / name, tmp_path)
    assert command.main([str(tmp_path)]) == 0
    page = Page((tmp_path / "report.html").read_text())
    assert "This run is still going, or was stopped: 6 epochs are done." in page.words
    assert len(page.references) == 1


def test_what_is_no_run_is_told(tmp_path, capsys):
    assert command.main([str(tmp_path)]) == 2
    assert f"{tmp_path / 'config.json'}: can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "\xff"])
def test_a_broken_file_is_named(run, tmp_path, capsys, content):
    shutil.copy(run / "config.json", tmp_path)
    (tmp_path / "report.json").write_bytes(content.encode("latin-1"))
    assert command.main([str(tmp_path)]) == 2
    assert f"{tmp_path / 'report.json'}: can't be read" in capsys.readouterr().err
