"""Reads the digits in pictures: pictures in, a `Prediction` or a `Reading` out.

    from digitjax.predict import Recognizer, predict_digit
    prediction = predict_digit("photo.jpg")       # a path, bytes, a file, a PIL image or an array
    prediction.digit, prediction.confidence
    Recognizer.load().read("sheet.jpg").text      # all digits, one line per row

`results.py` defines the results and `recognizer.py` makes them; `rows.py` chooses the digits of a row, `show.py` draws
predictions, and `process.py` sets up the process. `python -m digitjax.predict` is the command.
"""

from digitjax.pictures.gray import ImageError
from digitjax.predict.recognizer import Recognizer, predict_digit, predict_each, read
from digitjax.predict.results import Prediction, Reading

__all__ = ["ImageError", "Prediction", "Reading", "Recognizer", "predict_digit", "predict_each", "read"]
