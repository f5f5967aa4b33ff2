"""The demo: draw a digit, upload a picture, read many; in the browser, and as named endpoints for programs.

    python demo/app.py --port 7860

It adds no logic of its own: every tab hands a picture to `digitjax.predict`. A Hugging Face Space runs it the same way,
see `push_space.py`.
"""

import dataclasses
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported, like the next lines
try:
    tempfile.gettempdir()
except FileNotFoundError:  # the disk is read-only, as in some containers
    tempfile.tempdir = "/dev/shm"  # noqa: S108 - in memory, on Linux

import gradio as gr
import safehttpx
from components import FilesUpload, PictureUpload, Sketchpad, create_answer, create_download, create_number
from gradio.events import api
from service import DRAW_FIRST, MAX_FILES, NUMBER, ONE_DIGIT, UPLOAD_FIRST, Service, refuse

from digitjax import cli
from digitjax.config import DIGITS, DigitjaxError
from digitjax.predict import Recognizer, process
from digitjax.runs.files import RunFile, read_json
from digitjax.runs.weights import default_checkpoint, load_config

MAX_FILE_SIZE = "10mb"

# Two cores read two pictures at a time; once this many requests wait, the next is asked to try again later.
CONCURRENCY, MAX_WAITING = 2, 64

# Gradio keeps the page's settings for this many visitors, about 30 KB each, though the demo never needs them again.
MAX_SESSIONS = 200

# Uploads are deleted at this age; the check for old ones runs as often.
CACHE_SECONDS = 3600

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
            files = FilesUpload(
                file_count="multiple",
                label=f"Pictures of one digit each, up to {MAX_FILES}",
                elem_id="files",
                height=180,
            )
            table = gr.Dataframe(
                headers=["file", "digit", "confidence", "note"], visible=False, interactive=False, label="Digits"
            )
            download = create_download(visible=False, elem_id="csv")
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
    """Sums up the model's own report, in Markdown."""
    config = load_config(folder)
    lines = [f"A `{config.model}` network trained for {config.epochs} epochs (seed {config.seed})."]
    if figures := read_json(folder / RunFile.REPORT):
        lines.append(
            f"It gets **{100 * figures['accuracy']:.2f} %** of the {figures['num_examples']:,} test images of "
            f"{DATASET_NAMES.get(figures['dataset'], figures['dataset'])} right."
        )
    return " ".join(lines) + LIMITS


DATASET_NAMES = {"mnist": "MNIST", "digits": "scikit-learn's digits"}

LIMITS = """

**What it can't do.** It knows the digits 0 to 9 as people write them by hand, not letters, fractions or formulas; a
letter that looks like a digit may pass for one. When you ask for one digit, the picture should show only one, large and
not cut off. In a number, digits that overlap a lot or share a stroke may be misread, and words between the digits may
be taken for digits. Very pale ink, heavy patterns behind it and pictures smaller than about 20 pixels are hard. High
confidence is no guarantee.

**Your pictures** are read on the machine that serves this page and are used for nothing else.
"""


# ---------------------------------------------------------------- command


async def refuse_to_fetch(*_: Any, **__: Any) -> None:
    """Replaces Gradio's download of pictures that a request names by URL: nothing is fetched from other machines."""
    raise refuse("pictures must be uploaded: none is fetched from a URL")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoArguments(cli.Arguments):
    """The arguments of `python demo/app.py`."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 lets other machines in."""
    port: int = 7860
    """The port to listen on."""
    share: bool = False
    """Also create a public link, valid for a week, through Gradio's server."""
    checkpoint: Path | None = None
    """A training run's folder (default: the shipped weights)."""


def serve(args: DemoArguments) -> int:
    """Loads the model, warms up, and listens until interrupted."""
    process.set_up()
    process.share_heaps()
    folder = args.checkpoint or default_checkpoint()
    recognizer = Recognizer.load(folder)
    if recognizer.class_names != DIGITS:
        raise DigitjaxError(
            f"{folder}: this page shows digits, but that model reads {', '.join(recognizer.class_names)}"
        )
    service = Service(recognizer)
    service.warm_up()
    page = create_page(service, folder)
    safehttpx.get = safehttpx.async_validate_url = refuse_to_fetch
    # Like Ctrl-C: no new requests are taken, and earlier ones are answered.
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
