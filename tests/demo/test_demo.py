"""The demo as a program sees it: its endpoints over HTTP, in a process of its own."""

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import tracemalloc
import types
import urllib.error
import urllib.request
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import gradio
import numpy as np
import pytest
from conftest import REPOSITORY, start_demo
from PIL import Image

from digitjax.pictures.source import Picture
from digitjax.predict import Prediction, Reading

DEMO = REPOSITORY / "demo"
EXAMPLES = DEMO / "examples"


def load_demo(name):
    """Imports a module of the demo's folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DEMO / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def post(address, path, body, content_type="application/json"):
    request = urllib.request.Request(address + path, body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def upload(address, name, data):
    """Uploads a file as a form does, and returns how the endpoints want it named."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    (path,) = post(address, "/gradio_api/upload", head + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def ask(address, endpoint, name, data):
    body = json.dumps({"data": [upload(address, name, data)]}).encode()
    return post(address, f"/gradio_api/run/{endpoint}", body)["data"][0]


def catch_refusal(call):
    """Returns the status and the body of the answer that refuses what `call` asks for."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    with caught.value as answer:
        return answer.code, answer.read().decode()


def encode(array, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


# ---------------------------------------------------------------- endpoints


def test_the_demo_needs_no_disk_that_can_be_written(python):
    code = (
        "import resource, sys, tempfile; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
        f"sys.path.insert(0, {str(DEMO)!r}); import app; print(tempfile.gettempdir())"
    )
    result = python("-B", "-c", code, HOME="/nonexistent", TMPDIR="/nonexistent")
    assert result.stdout.decode().strip() == "/dev/shm", result.stderr.decode()  # noqa: S108


@pytest.mark.parametrize("endpoint", ["predict_upload", "predict_sketch"])
def test_an_endpoint_gives_what_the_library_gives(demo, seven, recognizer, endpoint):
    answer = ask(demo, endpoint, "seven.png", encode(seven))
    assert answer == json.loads(json.dumps(recognizer.predict_digit(seven).to_dict()))
    assert answer["digit"] == 7


def test_a_number_is_read(demo):
    answer = ask(demo, "read_number", "number.jpg", (EXAMPLES / "number.jpg").read_bytes())
    assert answer["text"] == "314159"
    assert [digit["digit"] for digit in answer["digits"]] == [3, 1, 4, 1, 5, 9]


def test_the_file_arrives_as_it_was(demo, seven, recognizer):
    """16 bits, ink on transparent ground, a camera's turn: all that a web framework may lose."""
    deep = 40_000 + (seven > 127).astype(np.uint16) * 20_000
    assert ask(demo, "predict_upload", "deep.png", encode(deep))["digit"] == 7
    transparent = np.dstack([np.zeros((*seven.shape, 3), np.uint8), 255 - seven])
    assert ask(demo, "predict_upload", "alpha.png", encode(transparent))["digit"] == 7
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn it clockwise
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.rot90(seven))).save(file, "JPEG", exif=exif, quality=95)
    answer = ask(demo, "predict_upload", "turned.jpg", file.getvalue())
    assert answer["digit"] == recognizer.predict_digit(file.getvalue()).digit == 7


@pytest.mark.parametrize("endpoint", ["predict_upload", "read_number"])
def test_a_bad_file_gets_the_librarys_message(demo, endpoint):
    _, message = catch_refusal(lambda: ask(demo, endpoint, "broken.png", b"no picture"))
    assert "is not an image" in message
    assert "gradio" not in message  # where the server keeps files is its own affair


@pytest.mark.parametrize("endpoint", ["predict_upload", "predict_sketch", "read_number"])
def test_a_file_that_is_deleted_by_now_is_asked_for_again(demo, seven, endpoint):
    picture = upload(demo, "seven.png", encode(seven))
    Path(picture["path"]).unlink()  # as the server does after an hour
    body = json.dumps({"data": [picture]}).encode()
    _, message = catch_refusal(lambda: post(demo, f"/gradio_api/run/{endpoint}", body))
    assert "upload it again" in message
    assert "gradio" not in message


@pytest.mark.parametrize("path", ["/etc/passwd", str(REPOSITORY / "README.md"), str(EXAMPLES / "letter.jpg")])
def test_files_of_the_server_cant_be_asked_for(demo, path):
    body = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}).encode()
    catch_refusal(lambda: post(demo, "/gradio_api/run/predict_upload", body))


def test_more_than_ten_megabytes_are_refused(demo):
    status, _ = catch_refusal(lambda: upload(demo, "large.png", b"0" * 11_000_000))
    assert status == 413


def test_nothing_else_is_offered(demo):
    with urllib.request.urlopen(demo + "/gradio_api/info", timeout=60) as response:
        endpoints = json.load(response)["named_endpoints"]
    assert endpoints.keys() == {"/predict_sketch", "/predict_upload", "/read_number"}


def test_many_at_once_get_their_own_answers(demo, recognizer):
    pictures = [EXAMPLES / name for name in ("squared_paper.jpg", "blackboard.jpg", "letter.jpg")]
    expected = [recognizer.predict_digit(picture).digit for picture in pictures]
    assert expected == [7, 5, None]

    def ask_ten(i):
        return [
            ask(demo, "predict_upload", "x.jpg", pictures[(i + j) % 3].read_bytes())["digit"] == expected[(i + j) % 3]
            for j in range(10)
        ]

    with ThreadPoolExecutor(8) as executor:
        answers = list(executor.map(ask_ten, range(8)))
    assert np.all(answers)


def test_the_readmes_lines_work(demo, tmp_path):
    """Those for the shell, run as they stand, against this server."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "/gradio_api/" in block]
    (tmp_path / "photo.jpg").write_bytes((EXAMPLES / "blackboard.jpg").read_bytes())
    script = block.replace("http://127.0.0.1:7860", demo)
    result = subprocess.run(
        [shutil.which("bash"), "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, check=False
    )
    assert json.loads(result.stdout)["data"][0]["digit"] == 5


def test_the_readmes_client_works(demo, tmp_path):
    text = (DEMO / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for name, example in (("photo.jpg", "blackboard.jpg"), ("sheet.jpg", "number.jpg")):
        (tmp_path / name).write_bytes((EXAMPLES / example).read_bytes())
    command = [sys.executable, "-c", block.replace('"user/digitjax"', repr(demo))]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # where the client puts what it gets
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert re.search(r"^5 0\.\d+$", result.stdout, re.MULTILINE), result.stderr
    assert result.stdout.splitlines()[-1] == "314159"


# ---------------------------------------------------------------- many


@pytest.fixture
def service(recognizer, monkeypatch):
    """The module and its service, in this process."""
    monkeypatch.syspath_prepend(DEMO)
    module = importlib.import_module("service")
    return module, module.Service(recognizer)


def test_many_pictures_are_not_in_memory_together(service, tmp_path):
    _, reader = service
    (tmp_path / "large.bmp").write_bytes(encode(np.full((1000, 3000), 255, np.uint8), "BMP"))
    tracemalloc.start()
    reader.show_many([str(tmp_path / "large.bmp")])
    _, one = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    reader.show_many([str(tmp_path / "large.bmp")] * 20)
    _, twenty = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert twenty < 10 * one  # while one is opened, a few before it may still be there


def test_each_page_of_a_pdf_has_a_row(service, seven, tmp_path):
    _, reader = service
    pages = [Image.fromarray(seven), Image.fromarray(np.full_like(seven, 255))]
    pages[0].save(tmp_path / "scan.pdf", save_all=True, append_images=pages[1:])
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4")
    table, _ = reader.show_many([str(tmp_path / "scan.pdf"), str(tmp_path / "broken.pdf")])
    (first, digit, *_), (second, none, _, note), (broken, *_, error) = table["value"]
    assert (first, digit, second, none, note) == ("scan.pdf#page=1", "7", "scan.pdf#page=2", "none", "blank")
    assert broken == "broken.pdf"
    assert error.startswith("is a PDF that can't be read")


def test_more_pictures_than_are_read_at_a_time_are_refused_in_plain_words(service):
    module, reader = service
    with pytest.raises(gradio.Error, match="1,234 pictures are too many: choose up to 200 at a time"):
        reader.show_many(["x.png"] * 1234)
    table, download = reader.show_many([])
    assert not table["visible"]
    assert not download["visible"]
    assert module.MAX_FILES == 200


# ---------------------------------------------------------------- views


def make_prediction(**changes):
    probs = np.full(10, 0.01, np.float32)
    probs[4] = 0.91
    canonical = np.zeros((28, 28), np.uint8)
    canonical[4:24, 14] = 255
    fields = {
        "label": "4",
        "reason": None,
        "confidence": 0.91,
        "is_digit_score": 0.99,
        "probabilities": probs,
        "box": (1, 2, 30, 42),
        "canonical": canonical,
    }
    return Prediction(**{**fields, **changes})


def decode(url):
    assert url.split(",")[0] in ("data:image/png;base64", "data:image/jpeg;base64")
    with urllib.request.urlopen(url) as response:
        return cv2.imdecode(np.frombuffer(response.read(), np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_digit_shows_ten_bars_and_what_the_model_saw():
    prediction = make_prediction()
    saliency = np.zeros((28, 28), np.float32)
    saliency[5, 14], saliency[20, 14] = 2.0, -1.0
    view = load_demo("views").view_prediction(prediction, saliency)
    assert view["headline"] == "4"
    assert view["comment"] == "91.0 % sure"
    assert [bar["percent"] for bar in view["bars"]] == ["1.0"] * 4 + ["91.0"] + ["1.0"] * 5
    assert [bar["rank"] == "best" for bar in view["bars"]] == [digit == 4 for digit in range(10)]
    np.testing.assert_array_equal(decode(view["canonical"]), prediction.canonical)
    colors = decode(view["saliency"]).astype(int)  # blue, green, red
    assert colors[5, 14, 2] > colors[5, 14, 0] + 50  # for it: orange
    assert colors[20, 14, 0] > colors[20, 14, 2] + 50  # against it: blue
    assert np.ptp(colors[10, 14]) == 0  # neither: grey


@pytest.mark.parametrize(
    ("reason", "box", "word", "shown"), [("blank", None, "no ink", False), ("not a digit", (1, 2, 3, 4), "digit", True)]
)
def test_no_digit_shows_why_and_no_bars(reason, box, word, shown):
    prediction = make_prediction(label=None, reason=reason, confidence=0.0, box=box)
    view = load_demo("views").view_prediction(prediction, None)
    assert word in view["comment"]
    assert "bars" not in view
    assert ("canonical" in view) == shown


def test_boxes_lie_in_the_pictures_own_pixels():
    reading = Reading(((make_prediction(), make_prediction(label="2", box=(50, 3, 70, 43))),))
    picture = Picture(np.full((30, 40), 200, np.float32), 400, 300)  # shown at a tenth of its size
    view = load_demo("views").view_reading(reading, picture)
    assert (view["width"], view["height"]) == (400, 300)
    assert [(box["left"], box["top"], box["width"], box["height"]) for box in view["boxes"]] == [
        (1, 2, 29, 40),
        (50, 3, 20, 40),
    ]
    assert view["headline"] == "42"
    assert decode(view["picture"]).shape == (30, 40)


# ---------------------------------------------------------------- the Space


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space") / "staged"
    assert load_demo("push_space").main(["--dry-run", str(folder)]) == 0
    return folder


def test_the_space_names_all_that_hugging_face_wants(space):
    _, head, _ = (space / "README.md").read_text(encoding="utf-8").split("---", 2)
    fields = dict(re.findall(r"^(\w+): (.+)$", head, re.MULTILINE))
    assert fields["sdk"] == "gradio"
    assert (space / fields["app_file"]).exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["sdk_version"])
    assert fields["python_version"] == '"3.11"'
    assert len(fields["short_description"]) <= 60  # longer ones are refused
    assert fields.keys() >= {"title", "emoji", "colorFrom", "colorTo", "license", "pinned"}


def test_the_spaces_requirements_are_the_packages():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = set(project["dependencies"]) | set(project["optional-dependencies"]["demo"])
    assert set((DEMO / "requirements.txt").read_text(encoding="utf-8").split()) <= allowed


def test_a_folder_that_holds_something_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert load_demo("push_space").main(["--dry-run", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_pushing_uploads_what_is_staged(monkeypatch, capsys):
    pushed = {}

    class Hub:
        def create_repo(self, repo, **options):
            pushed["repo"] = (repo, options["repo_type"], options["space_sdk"])

        def upload_folder(self, *, folder_path, repo_id, **options):
            assert (repo_id, options["repo_type"]) == ("somebody/digits", "space")
            pushed["files"] = {path.relative_to(folder_path).as_posix() for path in folder_path.rglob("*")}
            return types.SimpleNamespace(commit_url="https://example.org/commit")

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert load_demo("push_space").main(["--repo", "somebody/digits"]) == 0
    assert capsys.readouterr().out == "https://example.org/commit\n"
    assert pushed["repo"] == ("somebody/digits", "space", "gradio")
    wanted = {
        "app.py",
        "README.md",
        "requirements.txt",
        "digitjax/predict/__init__.py",
        "digitjax/checkpoints/default/config.json",
    }
    assert wanted <= pushed["files"]
    assert not any("__pycache__" in file or "push_space" in file for file in pushed["files"])


def test_pushing_asks_where_to(capsys):
    assert load_demo("push_space").main([]) == 2
    assert "--repo NAME/SPACE" in capsys.readouterr().err


@pytest.mark.slow  # it installs some hundred megabytes
def test_the_staged_space_runs_with_nothing_but_its_requirements(space, tmp_path, seven):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "-r", space / "requirements.txt"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode and "connection" in installed.stderr.lower():
        pytest.skip("the packages that the Space requires can't be downloaded here")
    assert installed.returncode == 0, installed.stderr
    with start_demo(space / "app.py", tmp_path, python=str(python)) as (address, _):
        assert ask(address, "predict_upload", "seven.png", encode(seven))["digit"] == 7


# ---------------------------------------------------------------- the command


RUN_APP = """
import sys
sys.path.insert(0, sys.argv[1])
import app
import gradio.analytics
print(gradio.analytics.analytics_enabled())
sys.exit(app.main(["--checkpoint", sys.argv[2]]))
"""


def test_analytics_are_off_and_a_wrong_checkpoint_is_one_line(python, tmp_path):
    assert "GRADIO_ANALYTICS_ENABLED" not in os.environ
    result = python("-c", RUN_APP, str(DEMO), str(tmp_path))
    assert result.returncode == 2
    assert result.stdout.decode().strip() == "False"
    assert result.stderr.decode().count("\n") == 1
    assert str(tmp_path) in result.stderr.decode()
