"""Reads the digits in pictures: pictures in, a `Prediction` or a `Reading` out.

    from digitjax.predict import Recognizer, predict_digit
    prediction = predict_digit("photo.jpg")       # a path, bytes, a file, a PIL image or an array
    prediction.digit, prediction.confidence
    Recognizer.load().read("sheet.jpg").text      # all digits, one line a row

`results.py` is what comes out, `recognizer.py` the way there, `rows.py` how a row of digits is taken apart.
"""

from digitjax.pictures.gray import ImageError
from digitjax.pictures.preprocess import PreprocessedImage
from digitjax.pictures.source import ImageSource
from digitjax.predict.recognizer import Recognizer, predict_digit, predict_each, read, read_each
from digitjax.predict.results import Prediction, Reading, csv_columns, to_csv_row

__all__ = [
    "ImageError",
    "ImageSource",
    "Prediction",
    "PreprocessedImage",
    "Reading",
    "Recognizer",
    "csv_columns",
    "predict_digit",
    "predict_each",
    "read",
    "read_each",
    "to_csv_row",
]
