import gzip
import hashlib
import http.server
import logging
import socket
import struct
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds

from digitjax.data import __main__ as command
from digitjax.data import builders, idx, prepare
from digitjax.data.arrays import DatasetError
from digitjax.data.idx import IdxFiles
from digitjax.data.prepare import UnreachableError, _is_reachable
from digitjax.data.published import BUILDERS, IDX_DIR_VARIABLE, Mnist
from digitjax.data.splits import load_splits

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (40, 28, 28), np.uint8), RNG.integers(0, 10, 40).astype(np.uint8)
TEST_IMAGES, TEST_LABELS = RNG.integers(0, 256, (15, 28, 28), np.uint8), RNG.integers(0, 10, 15).astype(np.uint8)


def encode(array):
    """An IDX file written by hand, as its format is published."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


CONTENTS = {
    "tiny-train-images.gz": encode(IMAGES),
    "tiny-train-labels.gz": encode(LABELS),
    "tiny-test-images.gz": encode(TEST_IMAGES),
    "tiny-test-labels.gz": encode(TEST_LABELS),
}


def md5(name):
    return hashlib.md5(CONTENTS[name]).hexdigest()  # noqa: S324 - how IDX files are published


class Tiny(builders.IdxBuilder):
    """What a builder for another data set takes."""

    name = "digitjax_tiny"
    URL = "http://127.0.0.1:1/"  # nobody listens there
    TRAIN = IdxFiles(
        "tiny-train-images.gz", "tiny-train-labels.gz", 40, md5("tiny-train-images.gz"), md5("tiny-train-labels.gz")
    )
    TEST = IdxFiles(
        "tiny-test-images.gz", "tiny-test-labels.gz", 15, md5("tiny-test-images.gz"), md5("tiny-test-labels.gz")
    )
    NUM_VALIDATION = 10
    CLASS_NAMES = tuple("0123456789")
    ABOUT = "Random pixels."
    HOMEPAGE = "http://127.0.0.1:1/"


@pytest.fixture
def idx_dir(tmp_path):
    folder = tmp_path / "idx"
    folder.mkdir()
    for i, (name, content) in enumerate(CONTENTS.items()):
        if i % 2:  # gzipped and not
            (folder / name).write_bytes(gzip.compress(content))
        else:
            (folder / name.removesuffix(".gz")).write_bytes(content)
    return folder


def load_tiny(tmp_path, idx_dir=None):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUILDERS, "mnist", Tiny)
        return load_splits("mnist", tmp_path / "tfds", idx_dir)


@pytest.fixture(autouse=True)
def no_idx_dir_variable(request, monkeypatch):
    if "mnist_files" not in request.fixturenames:
        monkeypatch.delenv(IDX_DIR_VARIABLE, raising=False)


# ---------------------------------------------------------------- builders


def as_multiset(images, labels):
    return sorted((bytes(image.tobytes()), int(label)) for image, label in zip(images, labels, strict=True))


def test_idx_files_become_splits(tmp_path, idx_dir):
    splits = load_tiny(tmp_path, idx_dir)
    np.testing.assert_array_equal(splits.test.images[..., 0], TEST_IMAGES)
    np.testing.assert_array_equal(splits.test.labels, TEST_LABELS)
    assert splits.train.images.shape == (30, 28, 28, 1)
    assert splits.validation.images.shape == (10, 28, 28, 1)
    assert (splits.train.images.dtype, splits.train.labels.dtype) == (np.uint8, np.int32)
    both = as_multiset(splits.train.images, splits.train.labels) + as_multiset(
        splits.validation.images, splits.validation.labels
    )
    assert sorted(both) == as_multiset(IMAGES, LABELS)


def test_a_prepared_copy_comes_first(tmp_path, idx_dir):
    first = load_tiny(tmp_path, idx_dir)
    again = load_tiny(tmp_path)  # neither files nor network
    for a, b in zip(first.parts.values(), again.parts.values(), strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)


def test_the_split_is_the_same_everywhere(tmp_path, idx_dir):
    first, second = load_tiny(tmp_path / "a", idx_dir), load_tiny(tmp_path / "b", idx_dir)
    np.testing.assert_array_equal(first.validation.images, second.validation.images)


def test_the_variable_names_the_folder(tmp_path, idx_dir, monkeypatch):
    monkeypatch.setenv(IDX_DIR_VARIABLE, str(idx_dir))
    assert len(load_tiny(tmp_path).test.labels) == 15


@pytest.mark.slow  # TFDS prepares 70,000 images
def test_mnist_is_whole_and_auto_takes_it_where_it_is(mnist_files, tmp_path):
    mnist = load_splits("auto", tmp_path)
    # Counts per class as published by LeCun et al.
    in_test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    in_training_files = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.name == "mnist"
    assert [len(part.labels) for part in mnist.parts.values()] == [55_000, 5_000, 10_000]
    assert np.bincount(mnist.test.labels).tolist() == in_test
    assert np.bincount(np.concatenate([mnist.train.labels, mnist.validation.labels])).tolist() == in_training_files
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # the published order


# ---------------------------------------------------------------- faults in IDX files


def rewrite(content, at, new):
    return content[:at] + new + content[at + len(new) :]


TRAIN_IMAGES, TRAIN_LABELS = CONTENTS["tiny-train-images.gz"], CONTENTS["tiny-train-labels.gz"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tiny-train-images", rewrite(TRAIN_IMAGES, 2, b"\x0d"), r"magic number 2051 .*found 3331"),
        ("tiny-train-images", TRAIN_LABELS, r"magic number 2051 .*found 2049"),
        ("tiny-train-images", TRAIN_IMAGES[:-1], r"expected 31376 bytes for shape \(40, 28, 28\), found 31375"),
        ("tiny-train-images", TRAIN_IMAGES + b"x", r"expected 31376 bytes .*found 31377"),
        ("tiny-train-images", b"", r"expected an IDX header of 16 bytes, found 0"),
        ("tiny-train-images", encode(IMAGES[:39]), r"expected 40 examples, found 39"),
        ("tiny-train-images", encode(IMAGES[:, :27]), r"expected images of 28x28, found 27x28"),
        ("tiny-train-images", rewrite(TRAIN_IMAGES, 300, b"\x01"), r"expected content with MD5 .*was changed"),
        ("tiny-train-images", gzip.compress(TRAIN_IMAGES)[:-9], r"can't be read"),
        ("tiny-train-labels.gz", encode(LABELS[:39]), r"expected 40 examples, found 39"),
        ("tiny-train-labels.gz", rewrite(TRAIN_LABELS, 8 + 5, b"\x0a"), r"labels from 0 to 9, found 10 at 5"),
        ("tiny-train-labels.gz", rewrite(TRAIN_LABELS, 4, b"\x00\x00\x00\x29"), r"expected 49 bytes .*found 48"),
    ],
)
def test_faulty_files_are_named(tmp_path, idx_dir, name, content, message):
    (idx_dir / name).write_bytes(content)
    with pytest.raises(DatasetError, match=f"{name}: .*{message}"):
        load_tiny(tmp_path, idx_dir)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_missing_files_and_folders_are_named(tmp_path, idx_dir, is_prepared):
    if is_prepared:  # what the user named counts all the same
        load_tiny(tmp_path, idx_dir)
    with pytest.raises(DatasetError, match="nowhere: is not a folder"):
        load_tiny(tmp_path, tmp_path / "nowhere")
    (idx_dir / "tiny-test-images").unlink()
    with pytest.raises(DatasetError, match=r"holds neither tiny-test-images\.gz nor tiny-test-images"):
        load_tiny(tmp_path, idx_dir)


def test_a_faulty_file_leaves_nothing_prepared(tmp_path, idx_dir):
    good = (idx_dir / "tiny-train-images").read_bytes()
    (idx_dir / "tiny-train-images").write_bytes(good[:-1])
    with pytest.raises(DatasetError):
        load_tiny(tmp_path, idx_dir)
    (idx_dir / "tiny-train-images").write_bytes(good)
    assert len(load_tiny(tmp_path, idx_dir).test.labels) == 15


def test_two_processes_may_prepare_at_once(tmp_path, idx_dir, monkeypatch):
    split = Tiny._split_generators

    def prepare_elsewhere_first(builder, dl_manager):
        monkeypatch.setattr(Tiny, "_split_generators", split)
        load_tiny(tmp_path, idx_dir)
        return split(builder, dl_manager)

    monkeypatch.setattr(Tiny, "_split_generators", prepare_elsewhere_first)
    assert len(load_tiny(tmp_path, idx_dir).test.labels) == 15


def test_a_broken_prepared_copy_is_named(tmp_path, idx_dir):
    load_tiny(tmp_path, idx_dir)
    (records,) = (tmp_path / "tfds").rglob("*-test.array_record*")
    records.write_bytes(records.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"digitjax_tiny/1\.0\.0 can't be read .*delete that folder"):
        load_tiny(tmp_path)


def test_other_dimensions_are_read(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(encode(LABELS))
    np.testing.assert_array_equal(idx.read_idx(path, 1), LABELS)


# ---------------------------------------------------------------- download


class TinyHandler(http.server.BaseHTTPRequestHandler):
    """Serves the tiny files, gzipped."""

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        body = gzip.compress(CONTENTS[self.path.lstrip("/")])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.answered.release()

    def log_message(self, *_):
        pass


class MissingHandler(TinyHandler):
    """Answers, but has nothing."""

    def do_GET(self):
        self.send_error(404)
        self.server.answered.release()


@pytest.fixture
def serve(monkeypatch):
    """Starts a server, makes it the tiny data set's home, and stops it when all four files were asked for.

    TFDS asks for all at once, and a thread whose server is gone would try again for minutes.
    """
    servers = []

    def start(handler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.answered = threading.Semaphore(0)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(Tiny, "URL", f"http://127.0.0.1:{server.server_port}/")

    yield start
    for server in servers:
        for _ in CONTENTS:
            assert server.answered.acquire(timeout=30)
        server.shutdown()
        server.server_close()


def test_files_are_downloaded(tmp_path, serve):
    serve(TinyHandler)
    np.testing.assert_array_equal(load_tiny(tmp_path).test.images[..., 0], TEST_IMAGES)


def test_a_download_that_fails_is_unreachable(tmp_path, serve):
    serve(MissingHandler)
    with pytest.raises(UnreachableError, match=r"mnist: the download failed.*127\.0\.0\.1"):
        load_tiny(tmp_path)


def test_a_changed_download_is_refused(tmp_path, serve, monkeypatch):
    serve(TinyHandler)
    wrong = tfds.core.download.checksums.UrlInfo(size=3, checksum="0" * 64, filename="x")
    monkeypatch.setattr(Tiny, "url_infos", {Tiny.URL + "tiny-test-images.gz": wrong})
    with pytest.raises(DatasetError, match="is not the published file"):
        load_tiny(tmp_path)


def test_a_folder_that_cant_be_written_is_named(tmp_path, idx_dir):
    (tmp_path / "tfds").write_text("a file where a folder should be")
    with pytest.raises(DatasetError, match=r"can't be prepared in .*--data-dir"):
        load_tiny(tmp_path, idx_dir)


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(prepare, "PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not _is_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/")


# ---------------------------------------------------------------- which data set


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(Mnist, "URL", "http://127.0.0.1:1/")
    return ["--data-dir", str(tmp_path / "tfds")]


def test_auto_falls_back_with_one_warning(offline, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "digitjax"):
        splits = load_splits("auto", tmp_path / "tfds")
    assert splits.name == "digits"
    # Below warnings, the thread of an earlier test's probe may still tell how that ended.
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    (record,) = [record for record in warnings if record.name.startswith("digitjax")]
    assert "can it be downloaded" in record.message
    assert "1,797" in record.message


def test_auto_doesnt_hide_a_faulty_file(tmp_path, idx_dir):
    with pytest.raises(DatasetError, match="holds neither train-images"):
        load_splits("auto", tmp_path / "tfds", idx_dir)


def test_mnist_never_falls_back(offline, capsys):
    assert command.main(["--dataset", "mnist", *offline]) == 2
    error = capsys.readouterr().err
    assert "--idx-dir" in error
    assert IDX_DIR_VARIABLE in error
    assert "Traceback" not in error


def test_bundled_digits_are_drawn_as_mnist_is(digits):
    assert sum(len(part.labels) for part in digits.parts.values()) == 1797
    everything = np.concatenate([part.labels for part in digits.parts.values()])
    assert np.bincount(everything).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI's figures
    for image in digits.train.images[..., 0]:
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) == 19  # a box of 20
        assert abs(np.average(rows, weights=image[rows, columns]) - 14) <= 1.5
        assert abs(np.average(columns, weights=image[rows, columns]) - 14) <= 1.5


def test_command_counts_and_draws(tmp_path, capsys, digits):
    out = tmp_path / "samples.png"
    assert command.main(["--dataset", "digits", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "digits: 1,797 images" in printed
    row = next(line.split() for line in printed.splitlines() if line.startswith("3 "))
    assert [int(count) for count in row[1:]] == [int((part.labels == 3).sum()) for part in digits.parts.values()]
    assert out.stat().st_size > 5000
