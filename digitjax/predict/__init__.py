"""Reads the digits in pictures: pictures in, a `Prediction` or a `Reading` out.

    from digitjax.predict import Recognizer, predict_digit
    prediction = predict_digit("photo.jpg")       # a path, bytes, a file, a PIL image or an array
    prediction.digit, prediction.confidence
    Recognizer.load().read("sheet.jpg").text      # all digits, one line a row

`results.py` is what comes out, `recognizer.py` the way there, `rows.py` how a row of digits is taken apart, `show.py` a
plot of it, and `process.py` sets up the process that reads. `python -m digitjax.predict` is the command.
"""

from digitjax.pictures.gray import ImageError
from digitjax.predict.recognizer import Recognizer, predict_digit, predict_each, read
from digitjax.predict.results import Prediction, Reading

__all__ = ["ImageError", "Prediction", "Reading", "Recognizer", "predict_digit", "predict_each", "read"]
