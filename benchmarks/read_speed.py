"""How long one picture takes to read, from encoded bytes to the digit, with the shipped weights.

    python benchmarks/read_speed.py

Prints the median and the 99th percentile in milliseconds, and the median for Pillow's decoding alone.
"""

import io
import platform
import time
from collections.abc import Callable
from importlib import metadata

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from digitjax.predict import Recognizer, process

# A 7, in fractions of the shorter side.
STROKE = ((0.28, 0.25), (0.68, 0.25), (0.43, 0.79))


def draw_sketch(size: int) -> NDArray[np.uint8]:
    """Draws as with a mouse, on white: uint8 [size, size, 3]."""
    paper = np.full((size, size, 3), 255, np.uint8)
    points = (np.array(STROKE) * size).astype(np.int32)
    return cv2.polylines(paper, [points], isClosed=False, color=(0, 0, 0), thickness=size // 16, lineType=cv2.LINE_AA)


def draw_photo(height: int, width: int) -> NDArray[np.uint8]:
    """Draws pen strokes on paper, with light from one side, a shadow and camera noise: uint8 [h, w, 3]."""
    side = min(height, width)
    ink = np.zeros((height, width), np.uint8)
    points = (np.array(STROKE) * side).astype(np.int32)
    cv2.polylines(ink, [points], isClosed=False, color=255, thickness=side // 24, lineType=cv2.LINE_AA)
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    light = (225 - 60 * x - 30 * y) * (1 - 0.35 / (1 + np.exp(-(x + y - 0.9) / 0.05)))
    color = np.array([1, 0.97, 0.9], np.float32)
    photo = (light * (1 - 0.75 / 255 * ink))[..., None] * color
    photo += np.random.default_rng(0).standard_normal(photo.shape, dtype=np.float32) * 3
    return photo.clip(0, 255).astype(np.uint8)


def encode(picture: NDArray[np.uint8], file_format: str) -> bytes:
    """Returns the picture as the bytes of a file; JPEG gets quality 90."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, quality=90)
    return file.getvalue()


def decode(encoded: bytes) -> None:
    """Decodes with Pillow, at full size."""
    with Image.open(io.BytesIO(encoded)) as image:
        image.load()


def measure_ms(function: Callable[[bytes], object], encoded: bytes, repeats: int) -> NDArray[np.float64]:
    """Returns how long each call takes when warm, in milliseconds."""
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        function(encoded)
        times.append(time.perf_counter() - start)
    return 1000 * np.array(times[3:])


def main(repeats: int = 500, large_repeats: int = 30) -> None:
    """Prints how long reading one picture takes.

    Args:
      repeats: Calls for each small picture.
      large_repeats: Calls for each picture of 12 megapixels.
    """
    versions = (f"{name} {metadata.version(name)}" for name in ("jax", "pillow", "opencv-python-headless"))
    print(f"Python {platform.python_version()}, {', '.join(versions)}, {platform.machine()}")
    large = draw_photo(3000, 4000)
    pictures = [
        ("sketch, 280x280, PNG", encode(draw_sketch(280), "PNG"), repeats),
        ("photo, 280x280, JPEG", encode(draw_photo(280, 280), "JPEG"), repeats),
        ("photo, 4000x3000, JPEG", encode(large, "JPEG"), large_repeats),
        ("photo, 4000x3000, PNG", encode(large, "PNG"), large_repeats),
    ]
    process.set_up()
    recognizer = Recognizer.load()
    print(f"{'ms':<26}{'p50':>8}{'p99':>8}{'decoding':>10}")
    for name, encoded, calls in pictures:
        times = measure_ms(recognizer.predict_digit, encoded, calls)
        decoding = np.median(measure_ms(decode, encoded, calls))
        print(f"{name:<26}{np.median(times):>8.1f}{np.percentile(times, 99):>8.1f}{decoding:>10.1f}", flush=True)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
