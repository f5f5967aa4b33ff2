"""Turns what `digitjax.predict` returns into what the page shows: plain JSON, with pictures as data URLs."""

import base64
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitjax.pictures.source import Picture
from digitjax.predict import Prediction, Reading

View = dict[str, Any]

# The colours (RGB) of ink that spoke for the answer, and of ink that spoke against it.
FOR, AGAINST = (251, 146, 60), (96, 165, 250)

COMMENTS = {"blank": "There is no ink to read.", "not a digit": "That doesn't look like a digit."}


def view_message(headline: str, comment: str) -> View:
    """Returns a view with text only."""
    return {"headline": headline, "comment": comment}


def view_prediction(prediction: Prediction, saliency: NDArray[np.float32] | None) -> View:
    """Returns the view of one digit, or of none.

    Args:
      prediction: What was read.
      saliency: How strongly each of the 28x28 pixels spoke for the digit, see `Recognizer.explain`; None to show none.
    """
    if prediction.reason is not None:
        view = view_message("?", COMMENTS[prediction.reason])
        return view if prediction.box is None else {**view, "canonical": encode_picture(prediction.canonical, ".png")}
    best = int(prediction.probabilities.argmax())
    return {
        **view_message(str(prediction.digit), f"{100 * prediction.confidence:.1f} % sure"),
        "bars": [
            {
                "digit": digit,
                "probability": str(p),
                "percent": f"{100 * p:.1f}",
                "rank": "best" if digit == best else "other",
            }
            for digit, p in enumerate(prediction.probabilities)
        ],
        "canonical": encode_picture(prediction.canonical, ".png"),
        "saliency": None
        if saliency is None
        else encode_picture(color_saliency(prediction.canonical, saliency), ".png"),
    }


def view_reading(reading: Reading, picture: Picture) -> View:
    """Returns the view of a number: its text, and the picture with a box around each digit."""
    digits = [prediction for line in reading.lines for prediction in line]
    comment = f"{len(digits)} digits" if len(digits) > 1 else "One digit" if digits else "No digits were found."
    boxes = []
    for prediction in digits:
        left, top, right, bottom = prediction.box or (0, 0, 0, 0)
        boxes.append(
            {
                "digit": prediction.digit,
                "percent": f"{100 * prediction.confidence:.1f}",
                "left": left,
                "top": top,
                "width": right - left,
                "height": bottom - top,
                "size": max(0.4 * (bottom - top), picture.height / 40),
            }
        )
    return {
        **view_message(reading.text, comment),
        "picture": encode_picture(picture.gray.astype(np.uint8), ".jpg"),
        "width": picture.width,
        "height": picture.height,
        "boxes": boxes,
    }


def color_saliency(canonical: NDArray[np.uint8], saliency: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns the ink [28, 28, 3] in grey; the more a pixel mattered, the more colour it has."""
    strength = saliency / max(float(abs(saliency).max()), 1e-6)
    color = np.where(strength[..., None] > 0, FOR, AGAINST)
    share = np.minimum(1.0, 1.5 * abs(strength[..., None]))
    gray = 0.45 * canonical[..., None].astype(np.float32)
    return (gray * (1 - share) + color * share).round().astype(np.uint8)


def encode_picture(image: NDArray[np.uint8], extension: str) -> str:
    """Returns a picture, grey or RGB, as a data URL; `extension` is .png or .jpg."""
    _, encoded = cv2.imencode(extension, image[..., ::-1] if image.ndim == 3 else image)
    kind = {".png": "png", ".jpg": "jpeg"}[extension]
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"
