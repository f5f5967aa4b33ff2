"""Answers the page and programs: uploaded files in, plain JSON or views out."""

import base64
import csv
import io
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from views import View, view_message, view_prediction, view_reading

from digitjax.config import DIGITS
from digitjax.pictures.pdf import list_pages, render_page, split_page
from digitjax.pictures.preprocess import PreprocessedImage
from digitjax.pictures.source import ImageSource, load_picture
from digitjax.predict import ImageError, Prediction, Recognizer, predict_each
from digitjax.predict.results import csv_columns, to_csv_row

# How many pictures "Many" reads at a time: a minute's work, if they are large. For more there is `digitjax.batch`.
MAX_FILES = 200

# Longer side of the picture in which the boxes are drawn, in pixels.
SHOWN_SIZE = 1024

DRAW_FIRST = view_message("", "Draw a digit.")
UPLOAD_FIRST = view_message("", "Choose a picture.")
ONE_DIGIT, NUMBER = "one digit", "a number"


class Service:
    """Reads uploaded files: for programs as plain JSON, for the page as views."""

    def __init__(self, recognizer: Recognizer) -> None:
        """Takes the recognizer that does the reading."""
        self.recognizer = recognizer

    def predict_digit(self, path: str) -> Prediction:
        """Reads the one digit in a file."""
        return self.recognizer.predict_digit(read_upload(path))

    # For programs; Gradio derives the endpoints' names and descriptions from these.

    def predict_sketch(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads one drawn digit; the same as predict_upload."""
        return self.predict_upload(picture)

    def predict_upload(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads the one digit in a picture: digit (null for none, see reason), confidence, probabilities, box."""
        try:
            return self.predict_digit(_path(picture)).to_dict()
        except ImageError as error:
            raise refuse(f"the picture {error}") from None

    def read_number(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads all digits in a picture: text with one line per row, and digits with their boxes."""
        try:
            return self.recognizer.read(read_upload(_path(picture))).to_dict()
        except ImageError as error:
            raise refuse(f"the picture {error}") from None

    # For the page.

    def show_sketch(self, path: str | None) -> View:
        """Shows how a sketch is read."""
        return self._show_digit(path) if path else DRAW_FIRST

    def show_upload(self, path: str | None, content: str) -> tuple[Any, Any]:
        """Shows how an uploaded picture is read, as one digit or as a number; hides the component for the other."""
        if content == NUMBER:
            view = self._show_number(path) if path else UPLOAD_FIRST
            return gr.update(visible=False), gr.update(value=view, visible=True)
        view = self._show_digit(path) if path else UPLOAD_FIRST
        return gr.update(value=view, visible=True), gr.update(visible=False)

    def show_many(self, paths: list[str] | None) -> tuple[Any, Any]:
        """Shows a row for each file, or for each page of a PDF, and offers them as CSV.

        The CSV is part of the page: nothing stays on the server.
        """
        pictures = [page for path in paths or [] for page in list_pages(Path(path))]
        if len(pictures) > MAX_FILES:
            raise refuse(f"{len(pictures):,} pictures are too many: choose up to {MAX_FILES} at a time")
        results = predict_each(self.recognizer, map(_attempt_upload, pictures))  # one at a time in memory
        named = [(picture.name, result) for picture, result in zip(pictures, results, strict=True)]
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(csv_columns(DIGITS))
        writer.writerows(to_csv_row(name, result, DIGITS) for name, result in named)
        link = f"data:text/csv;charset=utf-8;base64,{base64.b64encode(table.getvalue().encode()).decode()}"
        rows = [[name, *_describe(result)] for name, result in named]
        return gr.update(value=rows, visible=bool(rows)), gr.update(value={"link": link}, visible=bool(rows))

    def _show_digit(self, path: str) -> View:
        try:
            prediction = self.predict_digit(path)
        except ImageError as error:
            return view_message("!", f"This file {error}.")
        saliency = self.recognizer.explain(prediction) if prediction.digit is not None else None
        return view_prediction(prediction, saliency)

    def _show_number(self, path: str) -> View:
        try:
            data = read_upload(path)
            return view_reading(self.recognizer.read(data), load_picture(data, SHOWN_SIZE))
        except ImageError as error:
            return view_message("!", f"This file {error}.")

    def warm_up(self) -> None:
        """Compiles all that visitors need, in parallel: this takes most of the time until the demo listens."""
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


def read_upload(path: str) -> bytes:
    """Returns a file's bytes, to be passed on without its path, as errors must not reveal where the server keeps it.

    Raises:
      ImageError: It has been deleted, see `CACHE_SECONDS`.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError("was uploaded a while ago and has since been deleted: upload it again") from None


def _attempt_upload(picture: Path) -> ImageSource | ImageError:
    """Returns the bytes of a file, or a page of a PDF."""
    file, page = split_page(picture)
    try:
        content = read_upload(str(file))
        return content if page is None else render_page(content, page)
    except ImageError as error:
        return error


def refuse(reason: str) -> gr.Error:
    """Returns the error to raise for a visitor's mistake, which doesn't belong in the server's log."""
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
