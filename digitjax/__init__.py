"""digitjax reads handwritten digits with JAX and Flax.

    from digitjax import predict_digit
    predict_digit("photo.jpg").digit

Importing the package loads nothing heavy; the names below are loaded when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digitjax.predict import ImageError, Prediction, Reading, Recognizer, predict_digit, read

__version__ = "0.1.0"

__all__ = ["ImageError", "Prediction", "Reading", "Recognizer", "__version__", "predict_digit", "read"]


def __getattr__(name: str) -> Any:
    """Loads a name of `__all__` (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from digitjax import predict  # takes 1 s, with JAX and OpenCV

    return getattr(predict, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
