"""What the page and programs ask: uploaded files in, plain JSON or views out."""

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
from digitjax.pictures.preprocess import PreprocessedImage
from digitjax.pictures.source import load_picture
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
        """Takes the recognizer that reads all."""
        self.recognizer = recognizer

    def predict_digit(self, path: str) -> Prediction:
        """Reads the one digit of a file."""
        return self.recognizer.predict_digit(read_upload(path))

    # For programs; Gradio makes the endpoints' names and descriptions of these.

    def predict_sketch(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads one digit that was drawn; the same as predict_upload."""
        return self.predict_upload(picture)

    def predict_upload(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads the one digit of a picture: digit (null for none, see reason), confidence, probabilities, box."""
        try:
            return self.predict_digit(_path(picture)).to_dict()
        except ImageError as error:
            raise refuse(f"the picture {error}") from None

    def read_number(self, picture: gr.FileData) -> dict[str, Any]:
        """Reads all digits of a picture: text with one line a row, and digits with their boxes."""
        try:
            return self.recognizer.read(read_upload(_path(picture))).to_dict()
        except ImageError as error:
            raise refuse(f"the picture {error}") from None

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
        """Shows a row for each file, and offers them as CSV, which the page itself holds: nothing of it stays here."""
        paths = paths or []
        if len(paths) > MAX_FILES:
            raise refuse(f"{len(paths):,} pictures are too many: choose up to {MAX_FILES} at a time")
        results = predict_each(self.recognizer, map(_attempt_upload, paths))  # one at a time in memory
        named = [(Path(path).name, result) for path, result in zip(paths, results, strict=True)]
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


def read_upload(path: str) -> bytes:
    """Returns a file's bytes, which are handed on without its path: an error shall not tell where the server keeps it.

    Raises:
      ImageError: It has been deleted, see `CACHE_SECONDS`.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError("was uploaded a while ago and is deleted by now: upload it again") from None


def _attempt_upload(path: str) -> bytes | ImageError:
    try:
        return read_upload(path)
    except ImageError as error:
        return error


def refuse(reason: str) -> gr.Error:
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
