"""What paper and cuts add to a character, be it a digit or not: a rule, a speck, a patch of another paper."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from digitjax.drawing.canvas import SIDE, Canvas, round_corners
from digitjax.pictures.shapes import Box, ink_box

Light = Float32[np.ndarray, "h w"]
"""How bright paper is, 0 to 255."""

# How many characters stand on a rule, beside a speck, on a patch.
RULE_SHARE, SPECK_SHARE, PATCH_SHARE = 0.25, 0.06, 0.03


def add_paper(rng: np.random.Generator, canvas: Canvas, text: str) -> None:
    """Draws onto a character what worse paper would have added; most stay as they are."""
    box = ink_box(canvas > 0)
    if rng.random() < RULE_SHARE:
        _add_rule(rng, canvas, box, is_below=text == "1")  # elsewhere it would make a T or a t of a 1
    if rng.random() < SPECK_SHARE:
        _add_speck(rng, canvas, box)
    if rng.random() < PATCH_SHARE:
        _add_patch(rng, canvas, box)


def _add_rule(rng: np.random.Generator, canvas: Canvas, box: Box, *, is_below: bool) -> None:
    """Draws a rule, mostly where the character stands on it, else above it or through it; now and then a double one."""
    left, top, right, bottom = box
    low, high = (bottom - 6, bottom + 10) if is_below or rng.random() < 0.75 else (top - 4, bottom)
    y, light, width = int(rng.integers(low, high)), int(rng.integers(80, 256)), int(rng.choice([1, 2, 3, 4, 6, 8]))
    (before, after), tilt = rng.integers(-12, 18, 2), rng.normal(0, 2)
    for _ in range(rng.choice([1, 2], p=(0.8, 0.2))):
        ends = (int(left - before), round(y - tilt)), (int(right + after), round(y + tilt))
        cv2.line(canvas, *ends, light, width, cv2.LINE_AA)
        y += width + int(rng.integers(2, 6))


def _add_speck(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """Draws what is left of something else: a dot at the foot, or a block beside the character or at its corner."""
    left, top, right, bottom = box
    is_right, away, size = rng.random() < 0.6, int(rng.integers(2, 10)), int(rng.integers(2, 6))
    x = right + away if is_right else left - away
    if rng.random() < 0.5:
        cv2.circle(canvas, (x, bottom - int(rng.integers(-2, 10))), size, 255, -1, cv2.LINE_AA)
    else:
        y, (wide, high) = int(rng.integers(top, bottom)), rng.integers(2, 9, 2).tolist()
        cv2.rectangle(canvas, (x - wide, y - high), (x + wide, y + high), int(rng.integers(150, 256)), -1)


def _add_patch(rng: np.random.Generator, canvas: Canvas, box: Box) -> None:
    """Lays a darker patch of paper under the character."""
    left, top, right, bottom = box
    margins = rng.integers(-4, 14, 4).tolist()
    corners = (left - margins[0], top - margins[1]), (right + margins[2], bottom + margins[3])
    patch = cv2.rectangle(np.zeros((SIDE, SIDE), np.uint8), *corners, int(rng.integers(60, 140)), -1)
    np.maximum(canvas, patch, out=canvas)


# ---------------------------------------------------------------- pages


def lay_paper(rng: np.random.Generator, ink: UInt8[np.ndarray, "h w"], size: float) -> UInt8[np.ndarray, "h w"]:
    """Takes a picture of ink: the paper below it, the light, the pen, the lens, and how the picture is kept.

    Args:
      rng: Decides all of it.
      ink: Light ink on a dark ground.
      size: How high digits are, in pixels.
    """
    height, width = ink.shape
    is_plain = rng.random() < 0.35  # as sketches and scans are
    light = np.full((height, width), rng.uniform(120, 255), np.float32)
    if not is_plain:
        for share, change in GROUNDS:
            if rng.random() < share:
                light = change(rng, light, size).clip(0, 255)
    pen = np.full((height, width), rng.uniform(0.35, 1), np.float32)
    if rng.random() < 0.3:  # it fades
        pen *= _draw_field(rng, light.shape, (6, 10), rng.uniform(0.4, 1), 1)
    if rng.random() < 0.15:  # a pencil, chalk
        pen *= (1.3 - rng.uniform(0.2, 0.9) * rng.random((height, width), np.float32)).clip(0, 1)
    picture = light * (1 - pen * (ink / np.float32(255)))
    if rng.random() < 0.6:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.055 * size))
    if rng.random() < 0.25:  # it was smaller
        factor = rng.uniform(0.35, 0.8)
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        picture = cv2.resize(
            small, (width, height), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_NEAREST]))
        )
    if not is_plain or rng.random() < 0.2:
        picture = picture + rng.normal(0, rng.uniform(0, 8), picture.shape)
    kept = picture.clip(0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        kept = 255 - kept
    if rng.random() < 0.4:
        _, data = cv2.imencode(".jpg", kept, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        kept = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return kept


def _draw_field(
    rng: np.random.Generator, shape: tuple[int, ...], nodes: tuple[int, int], low: float, high: float
) -> Light:
    """Draws a smooth random field: uniform at the nodes of a grid."""
    return cv2.resize(rng.uniform(low, high, nodes).astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)


def _places(light: Light) -> tuple[Light, Light]:
    height, width = light.shape
    y, x = np.ogrid[0:height, 0:width]
    return y.astype(np.float32), x.astype(np.float32)


def _light_unevenly(rng: np.random.Generator, light: Light, _: float) -> Light:
    (y, x), (down, across) = _places(light), rng.uniform(-0.4, 0.4, 2)
    return light + down * (y - light.shape[0] / 2) + across * (x - light.shape[1] / 2)


def _add_grain(rng: np.random.Generator, light: Light, _: float) -> Light:
    """Adds grain of three sizes, as of rough paper or cloth."""
    for step in (1, 3, 8):
        nodes = light.shape[0] // step + 1, light.shape[1] // step + 1
        grain = rng.normal(0, rng.uniform(0, 9), nodes).astype(np.float32)
        light = light + cv2.resize(grain, light.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return light


def _add_shadow(rng: np.random.Generator, light: Light, _: float) -> Light:
    (y, x), angle = _places(light), rng.uniform(0, 2 * np.pi)
    depth = (x - rng.uniform(0, light.shape[1])) * np.cos(angle) + (y - rng.uniform(0, light.shape[0])) * np.sin(angle)
    return light * (1 - rng.uniform(0.1, 0.5) / (1 + np.exp(-depth / rng.uniform(1, 20))))


def _add_guilloche(rng: np.random.Generator, light: Light, _: float) -> Light:
    """Adds families of waving lines, as cheques have them."""
    y, x = _places(light)
    for _ in range(rng.integers(1, 4)):
        angle, pitch = rng.uniform(0, np.pi), rng.uniform(3, 14)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        wave = rng.uniform(0, 10) * np.sin(across * (2 * np.pi / rng.uniform(15, 120)) + rng.uniform(0, 2 * np.pi))
        lines = np.cos((along + wave) * (2 * np.pi / pitch)) - rng.uniform(-0.5, 0.8)
        light = light - rng.uniform(5, 40) * lines.clip(0, 1)
    return light


def _add_pattern(rng: np.random.Generator, light: Light, _: float) -> Light:
    """Adds a tile again and again, as security paper and cloth have it."""
    tile = rng.normal(0, rng.uniform(3, 25), rng.integers(3, 12, 2)).astype(np.float32)
    repeats = [-(-side // length) for side, length in zip(light.shape, tile.shape, strict=True)]
    return light + cv2.GaussianBlur(np.tile(tile, repeats)[: light.shape[0], : light.shape[1]], (0, 0), 0.7)


def _add_rules(rng: np.random.Generator, light: Light, size: float) -> Light:
    """Adds rules, or squares."""
    pitch, wide, dark = (
        size * rng.uniform(0.6, 2.5),
        max(1, round(size * rng.uniform(0.02, 0.07))),
        rng.uniform(0.5, 0.95),
    )
    for axis in range(rng.integers(1, 3)):
        for place in np.arange(rng.uniform(0, pitch), light.shape[axis], pitch).astype(int):
            light[(slice(None),) * axis + (slice(place, place + wide),)] *= dark
    return light


def _add_shapes(rng: np.random.Generator, light: Light, _: float) -> Light:
    """Adds what lies around, or parts of larger writing."""
    for _ in range(rng.integers(1, 4)):
        points = round_corners(rng.uniform(-0.3, 1.3, (4, 2)) * light.shape[::-1])
        grey, wide = float(rng.uniform(20, 200)), int(rng.integers(3, 24))
        cv2.polylines(light, [np.rint(points).astype(np.int32)], False, grey, wide, cv2.LINE_AA)
    return light


# How often paper has what.
GROUNDS = (
    (0.5, _light_unevenly),
    (0.3, _add_grain),
    (0.2, _add_shadow),
    (0.4, _add_guilloche),
    (0.15, _add_pattern),
    (0.3, _add_rules),
    (0.1, _add_shapes),
)
