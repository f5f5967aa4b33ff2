import json
import sys

import pytest
from conftest import TINY_RUN, read_events

from digitjax.config import DigitjaxError
from digitjax.runs import history
from digitjax.train import __main__ as command

RECORD = {
    "epoch": 1, "step": 10, "loss": 0.5, "accuracy": 0.8, "validation_loss": 0.4, "validation_accuracy": 0.9,
    "learning_rate": 1e-3, "seconds": 1.0, "images_per_second": 100.0,
}  # fmt: skip


def test_tensorboard_shows_what_the_metrics_say_also_of_a_resumed_run(run, tmp_path):
    records = history.read_history(run)
    with history.HistoryWriter(tmp_path, tensorboard=True) as writer:
        writer.write(records[:1])
        writer.write(records[:2])
    with history.HistoryWriter(tmp_path, tensorboard=True) as writer:  # another process goes on
        for n in range(3, len(records) + 1):
            writer.write(records[:n])
    assert history.read_history(tmp_path) == records
    events = read_events(tmp_path)
    assert set(events) == set(history.TAGS)
    for tag, name in history.TAGS.items():
        assert events[tag] == [(record["step"], pytest.approx(record[name])) for record in records]


def test_a_missing_package_is_named_before_anything_is_trained(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert command.main([*TINY_RUN, "--tensorboard", "--out", str(tmp_path)]) == 2
    assert "pip install 'digitjax[tensorboard]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(RECORD) + "\n{\n")
    with pytest.raises(DigitjaxError, match=r"metrics\.jsonl: can't be read"):
        history.read_history(tmp_path)
