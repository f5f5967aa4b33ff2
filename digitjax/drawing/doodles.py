"""Draws meaningless signs, scribbles, shapes, patterns, faces and blots."""

import cv2
import numpy as np

from digitjax.drawing.canvas import SIDE, Canvas, blank_canvas, choose_pen, draw_line, draw_strokes, round_corners


def draw_sign(rng: np.random.Generator) -> Canvas:
    """Draws lines, arcs and loops, some of them joined, as a pen might move; some look like digits."""
    heading, way = rng.uniform(0, 2 * np.pi), [np.zeros((1, 2))]
    strokes = []
    for _ in range(rng.integers(3, 8)):
        turn = rng.choice([0.0, rng.normal(0, 1), rng.uniform(-5, 5)])
        headings = heading + turn * np.arange(1, 13) / 12
        steps = np.stack([np.cos(headings), np.sin(headings)], axis=1) * (rng.uniform(10, 40) / 12)
        way.append(way[-1][-1] + np.cumsum(steps, axis=0))
        heading = headings[-1] + (rng.uniform(-2.5, 2.5) if rng.random() < 0.3 else 0)
        if rng.random() < 0.25:  # the pen is lifted and put down near where it has been
            strokes.append(np.concatenate(way))
            been = np.concatenate(strokes)
            way = [been[rng.integers(len(been))] + rng.normal(0, 4, (1, 2))]
            heading = rng.uniform(0, 2 * np.pi)
    strokes.append(np.concatenate(way))
    return draw_strokes(rng, strokes)


def draw_scribble(rng: np.random.Generator) -> Canvas:
    """Draws long strokes that wander, or go back and forth as if to fill an area."""
    canvas, pen = blank_canvas(), choose_pen(rng)
    for _ in range(rng.integers(1, 4)):
        points = rng.uniform(12, SIDE - 12, (int(rng.integers(6, 16)), 2))
        if rng.random() < 0.3:
            points[:, 0] = np.linspace(12, SIDE - 12, len(points))
            points[::2, 1], points[1::2, 1] = 12 + points[::2, 1] / 6, SIDE - 12 - points[1::2, 1] / 6
        draw_line(canvas, round_corners(points) if rng.random() < 0.8 else points, pen)
    return canvas


def draw_spiral(rng: np.random.Generator) -> Canvas:
    """Draws a spiral of almost two turns or more, or a wave."""
    t = np.linspace(0, 1, 200)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 7) + 2 * np.pi * rng.uniform(1.7, 4) * t * rng.choice([-1, 1])
        points = SIDE / 2 + 38 * t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        wave = rng.uniform(6, 20) * np.sin(2 * np.pi * rng.uniform(1.5, 5) * t + rng.uniform(0, 7))
        points = np.stack([12 + (SIDE - 24) * t, SIDE / 2 + wave], axis=1)
    return draw_line(blank_canvas(), points, choose_pen(rng))


def draw_shape(rng: np.random.Generator) -> Canvas:
    """Draws polygons, stars and rays, filled or not, one or a few."""
    canvas, pen = blank_canvas(), choose_pen(rng)
    num_shapes = int(rng.choice([1, 1, 2, 3, 5]))
    for _ in range(num_shapes):
        radius = rng.uniform(10, 38 if num_shapes == 1 else 24)
        center = rng.uniform(radius + 4, SIDE - radius - 4, 2)
        num_corners = int(rng.choice([3, 4, 5, 6, 8, 10]))
        angles = rng.uniform(0, 7) + np.arange(num_corners) * (2 * np.pi / num_corners)
        lengths = np.full(num_corners, radius)
        if num_corners >= 6:
            lengths[::2] *= rng.uniform(0.3, 0.6)  # a star
        corners = center + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        match rng.integers(3):
            case 0:
                cv2.fillPoly(canvas, [np.rint(corners).astype(np.int32)], 255, cv2.LINE_AA)
            case 1:
                draw_line(canvas, np.concatenate([corners, corners[:1]]), pen)
            case 2:
                for corner in corners:
                    draw_line(canvas, np.stack([center, corner]), pen)
    return canvas


def draw_bars(rng: np.random.Generator) -> Canvas:
    """Draws a horizontal line, a checkerboard, several horizontal lines, or a grid."""
    canvas, pen, low, high = blank_canvas(), int(rng.integers(2, 10)), 10, SIDE - 10
    step = int(rng.integers(pen + 4, 34))
    match rng.integers(4):
        case 0:
            return cv2.line(canvas, (low, SIDE // 2), (high, SIDE // 2), 255, pen, cv2.LINE_AA)
        case 1:
            y, x = np.mgrid[0:SIDE, 0:SIDE] // step
            canvas[low:high, low:high] = 255 * ((x + y) % 2)[low:high, low:high]
            return canvas
        case kind:
            for at in range(low, high + 1, step):
                cv2.line(canvas, (low, at), (high, at), 255, pen, cv2.LINE_AA)
                if kind == 3:
                    cv2.line(canvas, (at, low), (at, high), 255, pen, cv2.LINE_AA)
            return canvas


def draw_face(rng: np.random.Generator) -> Canvas:
    """Draws eyes and a mouth, or holes, in an outline or a disk (a face, a button, an icon); or just a disk, a dot."""
    canvas, pen, middle = blank_canvas(), int(rng.integers(3, 7)), SIDE // 2
    axes = tuple(rng.integers(30, 42, 2).tolist())
    is_filled = rng.random() < 0.5
    cv2.ellipse(canvas, (middle, middle), axes, 0, 0, 360, 255, -1 if is_filled else pen, cv2.LINE_AA)
    if is_filled and rng.random() < 0.3:
        return canvas
    color, apart, height = 0 if is_filled else 255, int(rng.integers(10, 16)), int(rng.integers(6, 14))
    for side in (-1, 1):
        cv2.circle(canvas, (middle + side * apart, middle - height), int(rng.integers(5, 8)), color, -1, cv2.LINE_AA)
    first = int(rng.choice([0, 180]))  # smiling or not
    below = (middle, middle + 12 + (6 if first else 0))
    cv2.ellipse(canvas, below, (apart, int(rng.integers(2, 12))), 0, first, first + 180, color, pen, cv2.LINE_AA)
    return canvas


def draw_blots(rng: np.random.Generator) -> Canvas:
    """Draws clouds with hard edges, or just their edges: what thresholds leave of photos, shadows and textures."""
    clouds = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), rng.uniform(2, 9))
    blots = (clouds > np.quantile(clouds, rng.uniform(0.4, 0.8))).astype(np.uint8) * 255
    return blots if rng.random() < 0.6 else cv2.morphologyEx(blots, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
