"""The demo: draw a digit, upload a picture, read many; in the browser, and as named endpoints for programs.

    python demo/app.py --port 7860

It adds no logic of its own: every tab hands a picture to `digitjax.predict`. A Hugging Face Space runs it the same way,
see `push_space.py`.
"""

import csv
import dataclasses
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

import gradio as gr
import numpy as np
import safehttpx
from components import PictureUpload, Sketchpad, create_answer, create_number
from gradio.events import api
from views import View, view_message, view_prediction, view_reading

from digitjax import cli
from digitjax.config import DIGITS, DigitjaxError
from digitjax.pictures.preprocess import PreprocessedImage
from digitjax.pictures.source import load_picture
from digitjax.predict import ImageError, Prediction, Recognizer, predict_each, process
from digitjax.predict.results import csv_columns, to_csv_row
from digitjax.runs.files import RunFile, read_json
from digitjax.runs.weights import default_checkpoint, load_config

MAX_FILE_SIZE = "10mb"

# Two cores read two pictures at a time; who comes when so many wait is told to come again.
CONCURRENCY, MAX_WAITING = 2, 64

# For so many visitors Gradio keeps the page's settings, some 30 KB each, which the demo never needs again.
MAX_SESSIONS = 200

# Uploads are deleted when they are that old.
CACHE_SECONDS = 3600

# Longer side of the picture in which the boxes are drawn, in pixels.
SHOWN_SIZE = 1024

DRAW_FIRST = view_message("", "Draw a digit.")
UPLOAD_FIRST = view_message("", "Choose a picture.")
ONE_DIGIT, NUMBER = "one digit", "a number"

# Drawn by `draw_examples.py`.
EXAMPLES = Path(__file__).parent / "examples"
EXAMPLE_FILES = {
    "A 7 on squared paper": ("squared_paper.jpg", ONE_DIGIT),
    "Chalk": ("blackboard.jpg", ONE_DIGIT),
    "A number": ("number.jpg", NUMBER),
    "A letter": ("letter.jpg", ONE_DIGIT),
    "A scribble": ("scribble.jpg", ONE_DIGIT),
}

CSS = """
.gradio-container { width: 100% !important; max-width: 1080px !important; margin: auto; }
@media (max-width: 480px) { .gradio-container { padding: 8px !important; } }
"""


# ---------------------------------------------------------------- what the page and programs ask


class Service:
    """Reads uploaded files: for programs as plain JSON, for the page as views."""

    def __init__(self, recognizer: Recognizer) -> None:
        """Takes the recognizer that reads all."""
        self.recognizer = recognizer

    def predict_digit(self, path: str) -> Prediction:
        """Reads the one digit of a file, from its bytes: an error shall not tell where the server keeps it."""
        return self.recognizer.predict_digit(Path(path).read_bytes())

    # For programs; Gradio makes the endpoints' names and descriptions of these.

    def predict_sketch(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads one digit that was drawn; the same as predict_upload."""
        return self.predict_upload(picture)

    def predict_upload(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads the one digit of a picture: digit (null for none, see reason), confidence, probabilities, box."""
        try:
            return self.predict_digit(_path(picture)).to_dict()
        except ImageError as error:
            raise _refuse(f"the picture {error}") from None

    def read_number(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads all digits of a picture: text with one line a row, and digits with their boxes."""
        try:
            return self.recognizer.read(Path(_path(picture)).read_bytes()).to_dict()
        except ImageError as error:
            raise _refuse(f"the picture {error}") from None

    # For the page.

    def show_sketch(self, path: str | None) -> View:
        """Shows how a sketch is read."""
        return self._show_digit(path) if path else DRAW_FIRST

    def show_upload(self, path: str | None, content: str) -> tuple[Any, Any]:
        """Shows how an uploaded picture is read, as one digit or as a number; what shows the other is hidden."""
        if content == NUMBER:
            view = self._show_number(path) if path else UPLOAD_FIRST
            return gr.update(visible=False), gr.update(value=view, visible=True)
        view = self._show_digit(path) if path else UPLOAD_FIRST
        return gr.update(value=view, visible=True), gr.update(visible=False)

    def show_many(self, paths: list[str] | None) -> tuple[Any, Any]:
        """Shows a row for each file, and offers them as CSV."""
        if not paths:
            return gr.update(value=None, visible=False), gr.update(value=None, visible=False)
        results = predict_each(self.recognizer, [Path(path).read_bytes() for path in paths])
        names = [Path(path).name for path in paths]
        table = Path(tempfile.mkdtemp(prefix="digitjax-")) / "digits.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(csv_columns(DIGITS))
            writer.writerows(to_csv_row(name, result, DIGITS) for name, result in zip(names, results, strict=True))
        rows = [[name, *_describe(result)] for name, result in zip(names, results, strict=True)]
        return gr.update(value=rows, visible=True), gr.update(value=str(table), visible=True)

    def _show_digit(self, path: str) -> View:
        try:
            prediction = self.predict_digit(path)
        except ImageError as error:
            return view_message("!", f"This file {error}.")
        saliency = self.recognizer.explain(prediction) if prediction.digit is not None else None
        return view_prediction(prediction, saliency)

    def _show_number(self, path: str) -> View:
        data = Path(path).read_bytes()
        try:
            return view_reading(self.recognizer.read(data), load_picture(data, SHOWN_SIZE))
        except ImageError as error:
            return view_message("!", f"This file {error}.")

    def warm_up(self) -> None:
        """Has all that visitors need compiled, side by side: that is most of the time until the demo listens."""
        ink = np.zeros((28, 28), np.uint8)
        ink[4:24, 13:16] = 255
        one = PreprocessedImage(ink, (13, 4, 16, 24))
        prediction = Prediction(
            label="1",
            reason=None,
            confidence=1.0,
            is_digit_score=1.0,
            probabilities=np.eye(10, dtype=np.float32)[1],
            box=one.box,
            canonical=ink,
        )
        with ThreadPoolExecutor() as executor:
            tasks: list[Future[Any]] = [
                executor.submit(self.recognizer.explain, prediction),
                executor.submit(self.recognizer.predict_preprocessed, [one]),  # one goes alone
                executor.submit(self.recognizer.predict_preprocessed, [one, one]),  # several in batches
            ]
        for task in tasks:
            task.result()  # raises what went wrong


def _refuse(reason: str) -> gr.Error:
    """Returns the error to raise for a visitor's mistake, which is no matter for the server's log."""
    return gr.Error(reason, print_exception=False)


def _path(picture: Any) -> str:
    """Returns where Gradio put what a program sent."""
    return str(picture["path"] if isinstance(picture, dict) else picture.path)


def _describe(result: Prediction | ImageError) -> tuple[str, str, str]:
    """Returns digit, confidence and a note, as the table shows them."""
    if isinstance(result, ImageError):
        return "", "", str(result)
    if result.reason is not None:
        return "none", "", result.reason
    return str(result.digit), f"{100 * result.confidence:.1f} %", ""


async def refuse_to_fetch(*_: Any, **__: Any) -> None:
    """Stands where Gradio fetches a picture that a request names by its URL: nothing is asked of other machines."""
    raise _refuse("pictures must be uploaded: none is fetched from an address")


# ---------------------------------------------------------------- the page


def create_page(service: Service, folder: Path) -> gr.Blocks:
    """Lays out the tabs; `folder` holds the model and its report."""
    with gr.Blocks(
        title="digitjax: reads handwritten digits", analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS)
    ) as page:
        gr.Markdown("# digitjax\nReads handwritten digits, and says when there is none.")
        with gr.Tab("Draw"), gr.Row(equal_height=False):
            with gr.Column(min_width=280):
                pad = Sketchpad(elem_id="pad")
            with gr.Column(min_width=280):
                answer = create_answer(DRAW_FIRST, elem_id="sketch-answer")
            pad.change(
                service.show_sketch,
                pad,
                answer,
                show_progress="hidden",
                trigger_mode="always_last",
                api_visibility="private",
            )
        with gr.Tab("Upload"), gr.Row(equal_height=False):
            with gr.Column(min_width=280):
                picture = PictureUpload(
                    sources=["upload", "webcam", "clipboard"],
                    label="Picture",
                    elem_id="picture",
                    height=320,
                    placeholder="Drop a picture here, or click",
                )
                content = gr.Radio([ONE_DIGIT, NUMBER], value=ONE_DIGIT, label="What it holds", elem_id="content")
                gr.Examples(
                    [[str(EXAMPLES / name), holds] for name, holds in EXAMPLE_FILES.values()],
                    [picture, content],
                    label="Or one of these",
                    example_labels=list(EXAMPLE_FILES),
                    elem_id="examples",
                    api_visibility="private",
                )
            with gr.Column(min_width=280):
                upload_answer = create_answer(UPLOAD_FIRST, elem_id="upload-answer")
                number = create_number(UPLOAD_FIRST, visible=False, elem_id="number")
            gr.on(
                [picture.change, content.change],
                service.show_upload,
                [picture, content],
                [upload_answer, number],
                show_progress="hidden",
                trigger_mode="always_last",
                api_visibility="private",
            )
        with gr.Tab("Many"):
            files = gr.File(file_count="multiple", label="Pictures of one digit each", elem_id="files", height=180)
            table = gr.Dataframe(
                headers=["file", "digit", "confidence", "note"], visible=False, interactive=False, label="Digits"
            )
            download = gr.DownloadButton("Download all of it as CSV", visible=False, elem_id="csv")
            files.change(service.show_many, files, [table, download], show_progress="hidden", api_visibility="private")
        with gr.Tab("About"):
            gr.Markdown(describe_model(folder))
            with gr.Row():
                for name, label in (
                    (RunFile.CONFUSION_MATRIX, "Confusion matrix"),
                    (RunFile.HISTORY, "Training history"),
                ):
                    if (folder / name).exists():
                        gr.Image(str(folder / name), alt_text=label, show_label=False, interactive=False, buttons=[])
        api(service.predict_sketch, api_name="predict_sketch")
        api(service.predict_upload, api_name="predict_upload")
        api(service.read_number, api_name="read_number")
    return page


def describe_model(folder: Path) -> str:
    """Returns what the model's own report says, as Markdown."""
    config = load_config(folder)
    lines = [f"A `{config.model}` network trained for {config.epochs} epochs (seed {config.seed})."]
    if figures := read_json(folder / RunFile.REPORT):
        lines.append(
            f"It reads **{100 * figures['accuracy']:.2f} %** of the {figures['num_examples']:,} test images of "
            f"{DATASET_NAMES.get(figures['dataset'], figures['dataset'])} rightly."
        )
    return " ".join(lines) + LIMITS


DATASET_NAMES = {"mnist": "MNIST", "digits": "scikit-learn's digits"}

LIMITS = """

**What it can't do.** It knows the digits 0 to 9 as people write them by hand, not letters, fractions or formulas; a
letter that looks like a digit may pass for one. Where you look for one digit, the picture should hold a single one,
large and not cut off. In a number, digits that overlap far or share a stroke may be read wrongly, and words between the
digits may be taken for digits. Very pale ink, heavy patterns behind it and pictures smaller than some 20 pixels are
hard. A high confidence is no promise.

**Your pictures** are read on the machine that serves this page and are used for nothing else.
"""


# ---------------------------------------------------------------- command


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoArguments(cli.Arguments):
    """The arguments of `python demo/app.py`."""

    host: str = "127.0.0.1"
    """Where to listen; 0.0.0.0 lets other machines in."""
    port: int = 7860
    """The port to listen at."""
    share: bool = False
    """Also make a public link that lives for a week, through Gradio's server."""
    checkpoint: Path | None = None
    """A training run's folder (default: the weights that ship)."""


def serve(args: DemoArguments) -> int:
    """Loads the model, warms up, and listens until interrupted."""
    process.share_heaps()
    folder = args.checkpoint or default_checkpoint()
    recognizer = Recognizer.load(folder)
    if recognizer.class_names != DIGITS:
        raise DigitjaxError(
            f"{folder}: this page shows digits, and that model reads {', '.join(recognizer.class_names)}"
        )
    service = Service(recognizer)
    service.warm_up()
    page = create_page(service, folder)
    safehttpx.get = safehttpx.async_validate_url = refuse_to_fetch
    # As Ctrl-C does: no new requests, and those that came before are answered.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    page.queue(default_concurrency_limit=CONCURRENCY, max_size=MAX_WAITING)
    page.launch(
        server_name=args.host,
        server_port=args.port,
        share=args.share,
        max_file_size=MAX_FILE_SIZE,
        state_session_capacity=MAX_SESSIONS,
        css=CSS,
        ssr_mode=False,
        footer_links=["api"],
    )
    return cli.EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python demo/app.py`."""
    return cli.run(serve, DemoArguments, argv, program="demo/app.py", about="Serves the demo in the browser.")


if __name__ == "__main__":
    sys.exit(main())
