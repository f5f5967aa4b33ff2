import errno
import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image

from digitjax import batch
from digitjax.config import DigitjaxError
from digitjax.pictures.gray import ImageError
from digitjax.runs.folder import lock_folder


def encode(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path, digits):
    """Some pictures of digits in a folder and one below it, one that is none, and a file of another kind."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for i in range(8):
        path = folder / "below" if i % 2 else folder
        (path / f"{i}.png").write_bytes(encode(255 - digits.test.images[i, ..., 0]))
    (folder / "broken.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("not a picture, and not named as one")
    return folder


def read_rows(output, key):
    return {row[key]: row for row in pyarrow.dataset.dataset(output).to_table().to_pylist()}


def assert_row_is(row, answer):
    """That a row says what the recognizer does, but for float32's rounding."""
    assert {name: row[name] for name in ("digit", "label", "reason", "box", "error")} == {
        **{name: answer[name] for name in ("digit", "label", "reason", "box")}, "error": None
    }  # fmt: skip
    assert row["confidence"] == pytest.approx(answer["confidence"], abs=1e-5)
    assert row["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-5)


def run(python, *arguments):
    result = python("-m", "digitjax.batch", *map(str, arguments))
    return result.returncode, result.stdout.decode(), result.stderr.decode()


@pytest.mark.slow  # to start Ray takes ten seconds, each time
def test_a_folder_is_read_and_a_second_run_reads_only_what_is_missing(python, pictures, recognizer, tmp_path, seven):
    output = tmp_path / "results"
    status, printed, errors = run(python, pictures, output, "--actors", 1)
    assert status == 1, errors  # one can't be read
    assert "9 rows, 9 of them new; 1 could not be read" in printed
    rows = read_rows(output, "file")
    for path in pictures.rglob("?.png"):
        assert_row_is(rows[str(path)], recognizer.predict_digit(path).to_dict())
    with pytest.raises(ImageError) as error:
        recognizer.predict_digit(pictures / "broken.png")
    assert rows[str(pictures / "broken.png")]["error"] == str(error.value)

    (output / "cut.parquet").write_bytes(next(output.glob("*.parquet")).read_bytes()[:500])  # as a kill leaves it
    (pictures / "new.png").write_bytes(encode(seven))
    (pictures / "0.png").write_bytes(b"no longer looked at")
    _, printed, errors = run(python, pictures, output, "--actors", 1)
    assert "10 rows, 1 of them new; 1 could not be read" in printed
    assert "cut.parquet was not finished" in errors
    assert "Traceback" not in errors
    rows = read_rows(output, "file")
    assert rows[str(pictures / "new.png")]["digit"] == 7
    assert rows[str(pictures / "0.png")]["error"] is None


@pytest.mark.slow
def test_parquet_keeps_its_other_columns(python, pictures, recognizer, tmp_path):
    paths = sorted(pictures.rglob("?.png"))
    structs = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    table = pa.table({"name": [path.name for path in paths] + ["none"], "scan": [*structs, None]})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    status, printed, errors = run(python, tmp_path / "in.parquet", tmp_path / "out", "--column", "scan", "--actors", 1)
    assert status == 1, errors
    assert "9 rows, 9 of them new; 1 could not be read" in printed
    rows = read_rows(tmp_path / "out", "name")
    assert rows["none"]["error"] == "is missing"
    assert "scan" not in rows["none"]
    for path in paths:
        assert_row_is(rows[path.name], recognizer.predict_digit(path).to_dict())
    assert len({row["row_hash"] for row in rows.values()}) == 9


# ---------------------------------------------------------------- without Ray


def test_many_are_read_as_one_by_one_in_any_order(recognizer, digits):
    pictures = [encode(255 - image) for image in digits.test.images[:150, ..., 0]]
    truths = [str(label) for label in digits.test.labels[:151]]
    table = pa.table({"image": [*pictures, b"x"], "id": range(151), "label": truths})
    rows = batch.PictureReader(None, "image")(table).to_pylist()
    assert [row["input_label"] for row in rows] == truths  # beside what was read
    assert [row["id"] for row in rows] == list(range(151))
    predictions = recognizer.predict_digits(pictures)
    assert [row["label"] for row in rows[:150]] == [prediction.label for prediction in predictions]
    assert "not an image" in rows[150]["error"]


def test_inputs_are_found(pictures, tmp_path):
    output = tmp_path / "results"
    files, is_parquet = batch.find_inputs(str(pictures), output)
    assert (len(files), is_parquet) == (9, False)
    assert batch.find_inputs(str(pictures / "**" / "[0-3].png"), output)[0] == sorted(
        str(path) for path in pictures.rglob("[0-3].png")
    )
    assert batch.find_inputs(str(pictures / "notes.txt"), output) == ([str(pictures / "notes.txt")], False)
    pq.write_table(pa.table({"image": [b""]}), tmp_path / "a.parquet")
    assert batch.find_inputs(str(tmp_path / "*.parquet"), output) == ([str(tmp_path / "a.parquet")], True)
    with pytest.raises(DigitjaxError, match="holds pictures and Parquet files"):
        batch.find_inputs(str(tmp_path), output)
    with pytest.raises(DigitjaxError, match="nowhere: no pictures"):
        batch.find_inputs(str(tmp_path / "nowhere"), output)


def test_results_among_the_inputs_are_none(pictures, monkeypatch):
    (pictures / "results").mkdir()
    pq.write_table(pa.table({"file": ["a"]}), pictures / "results" / "0.parquet")
    monkeypatch.chdir(pictures)
    for pattern in (".", str(pictures), "**/*"):
        files, is_parquet = batch.find_inputs(pattern, pictures / "results")
        assert not is_parquet
        assert len(files) == (10 if "*" in pattern else 9)  # a pattern also names the notes
        assert not any(file.endswith(".parquet") for file in files)
    # What is named itself isn't taken for a result.
    assert batch.find_inputs("results/0.parquet", pictures / "results") == (
        [str(pictures / "results" / "0.parquet")],
        True,
    )


def test_what_is_done_is_known(tmp_path):
    names = [f"{i}.png" for i in range(3000)]
    for i in range(3):
        pq.write_table(pa.table({"file": names[i::4]}), tmp_path / f"{i}.parquet")
    done = batch.find_done(tmp_path, "file")
    is_new = batch.is_new(names, done)
    assert np.flatnonzero(is_new).tolist() == list(range(3, 3000, 4))
    assert batch.is_new(names, done[:0]).all()
    assert batch.is_new([], done).tolist() == []


def test_a_long_index_isnt_copied_for_each_block():
    done = np.arange(0, 8_000_000, 2, dtype=np.uint64)
    tracemalloc.start()
    assert batch.is_new(["a", "b"], done).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < done.nbytes / 100


def test_only_what_is_no_parquet_is_read_anew(tmp_path, monkeypatch, caplog):
    path = tmp_path / "0.parquet"
    pq.write_table(pa.table({"file": [f"{i}.png" for i in range(1000)]}), path)
    whole = path.read_bytes()

    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "ParquetFile", fail)
        with pytest.raises(DigitjaxError, match=r"0\.parquet: can't be read: .*Input/output error"):
            batch.find_done(tmp_path, "file")
    assert path.read_bytes() == whole
    path.write_bytes(whole[:100] + bytes(400) + whole[500:])  # damaged, but its end is there
    with pytest.raises(DigitjaxError, match=r"0\.parquet: can't be read"):
        batch.find_done(tmp_path, "file")
    assert path.exists()
    for cut in (whole[:-20], whole[:10], b""):  # as a kill leaves it
        path.write_bytes(cut)
        assert len(batch.find_done(tmp_path, "file")) == 0
        assert not path.exists()
    assert caplog.text.count("was not finished") == 3


def test_two_processes_on_one_output_are_refused(tmp_path, capsys, pictures):
    with lock_folder(tmp_path / "out"):
        assert batch.main([str(pictures), str(tmp_path / "out")]) == 2
    assert "out: another process is writing into it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "message"), [(None, "Ray can't be started on this machine: no"), ("auto", "--address auto: no Ray")]
)
def test_where_ray_is_missing_is_told(tmp_path, capsys, pictures, monkeypatch, address, message):
    def fail(*_, **__):
        raise ConnectionError("no")

    monkeypatch.setattr(ray, "init", fail)
    assert batch.main([str(pictures), str(tmp_path), *(["--address", address] if address else [])]) == 2
    assert message in capsys.readouterr().err


def test_another_inputs_results_are_left_alone(tmp_path, capsys, pictures):
    pq.write_table(pa.table({"row_hash": [1]}), tmp_path / "0.parquet")
    assert batch.main([str(pictures), str(tmp_path)]) == 2
    assert "0.parquet: has no column file: the results of another input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "nowhere"], "nowhere"),
        (["--column", "scan"], "has no column 'scan', only image; see --column"),
        (["--actors", "0"], "--actors must be at least 1, found 0"),
    ],
)
def test_mistakes_are_told_before_ray_is_started(tmp_path, capsys, arguments, message):
    pq.write_table(pa.table({"image": [b""]}), tmp_path / "in.parquet")
    assert batch.main([str(tmp_path / "in.parquet"), str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
