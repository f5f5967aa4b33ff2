"""Pages composed for training: rows, tables and single digits by many hands, and what stands between them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from digitjax.data.arrays import Character
from digitjax.drawing.canvas import round_corners
from digitjax.pictures.shapes import ink_box


class Page(NamedTuple):
    picture: np.ndarray  # uint8 [h, w], grey
    boxes: np.ndarray  # float32 [n, 4] left, top, right, bottom in pixels
    labels: np.ndarray  # int32 [n]


class Glyphs(NamedTuple):
    """What pages are composed of."""

    hands: list[list[list[Character]]]  # of each hand, its digits by class
    others: list[Character]
    words: list[Character]
    strings: list = []  # (strokes, [(first, last, digit or -1)])


OVER = 2  # ink is drawn so many times as large


class Style(NamedTuple):
    """How a hand writes a row."""

    hand: list[list[Character]]
    height: float
    pen: float
    slant: float
    stretch: float
    gap: float
    jitter: float
    small_zero: float
    rough: float


class Sheet:
    """Ink on its way, and which digits stand where."""

    def __init__(self, height: int, width: int) -> None:
        self.ink = np.zeros((OVER * height, OVER * width), np.uint8)
        self.boxes: list[tuple[float, float, float, float]] = []
        self.labels: list[int] = []

    def polyline(self, points: np.ndarray, pen: float, light: int = 255) -> None:
        cv2.polylines(self.ink, [np.rint(points * (16 * OVER)).astype(np.int32)], False, light,
                      max(1, round(pen * OVER)), cv2.LINE_AA, 4)


def choose_style(rng: np.random.Generator, glyphs: Glyphs, height: float) -> Style:
    pen = height * float(np.clip(rng.lognormal(np.log(0.075), 0.4), 0.025, 0.2))
    return Style(
        hand=glyphs.hands[int(rng.integers(len(glyphs.hands)))],
        height=height,
        pen=max(pen, 0.6),
        slant=float(np.clip(rng.normal(0.12, 0.25), -0.5, 0.9)),
        stretch=float(rng.lognormal(0, 0.2)),
        gap=float(rng.choice([rng.uniform(-0.12, 0.05), rng.uniform(0.0, 0.3), rng.uniform(0.2, 1.0)], p=[0.35, 0.5, 0.15])),
        jitter=float(rng.choice([0.03, 0.08, 0.18, 0.3])),
        small_zero=float(rng.choice([1, 1, 1, 0.75, 0.5])),
        rough=float(rng.choice([0, 0, 0.01, 0.02])),
    )


def _points(character: Character) -> list[np.ndarray]:
    return [round_corners(s) if 2 < len(s) < 12 else s for s in character.ink]


def write(rng, sheet: Sheet, character: Character, style: Style, x: float, base: float, height: float) -> tuple[float, float, float, float]:
    """Writes a character, whose ink begins at x and stands on the base line; returns its box."""
    shear, stretch = style.slant + rng.normal(0, 0.05), style.stretch * rng.lognormal(0, 0.08)
    if isinstance(character.ink, np.ndarray):
        return _write_bitmap(rng, sheet, character.ink, shear, stretch, x, base, height)
    strokes = _points(character)
    been = np.concatenate(strokes)
    low, high = been.min(axis=0), been.max(axis=0)
    size = high - low
    scale = height / max(size[1], 0.3 * size[0], 1e-3)
    turn = rng.normal(0, 0.04)
    out = []
    for s in strokes:
        p = (s - [low[0], high[1]]) * scale  # base at 0
        p = p @ np.array([[stretch, turn], [-shear, 1]])
        if style.rough:
            p = p + rng.normal(0, style.rough * height, p.shape) * (np.arange(len(p)) % 2)[:, None]
        out.append(p)
    been = np.concatenate(out)
    shift = np.array([x - been[:, 0].min() + style.pen / 2, base - been[:, 1].max()])
    for p in out:
        sheet.polyline(p + shift, style.pen)
    half = style.pen / 2
    (l, t), (r, b) = been.min(axis=0) + shift - half, been.max(axis=0) + shift + half
    return float(l), float(t), float(r), float(b)


def _write_bitmap(rng, sheet, image, shear, stretch, x, base, height):
    left, top, right, bottom = ink_box(image > 0)
    ink = image[top:bottom, left:right]
    h, w = ink.shape
    scale = OVER * height / max(h, 0.3 * w)
    lean = shear * h
    m = np.array([[stretch * scale, -shear * scale, scale * max(lean, 0)], [0, scale, 0]])
    W, H = max(2, round(scale * (stretch * w + abs(lean)))), max(2, round(scale * h))
    big = cv2.warpAffine(ink, m, (W, H), flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    if scale > 1.5:
        big = cv2.convertScaleAbs(np.maximum(big.astype(np.float32) - rng.uniform(50, 110), 0), alpha=rng.uniform(1.5, 3.5))
    box = big > 60
    if not box.any():
        return x, base, x, base
    l, t, r, b = ink_box(box)
    X, Y = round(OVER * x) - l, round(OVER * base) - b
    y0, x0 = max(Y, 0), max(X, 0)
    part = sheet.ink[y0 : max(Y + H, 0), x0 : max(X + W, 0)]
    src = big[y0 - Y : y0 - Y + part.shape[0], x0 - X : x0 - X + part.shape[1]]
    if part.size:
        np.maximum(part, src, out=part)
    return (X + l) / OVER, (Y + t) / OVER, (X + r) / OVER, (Y + b) / OVER


# ---------------------------------------------------------------- marks

def _mark(rng, sheet, style, x, base):
    """A mark between digits; returns where it ends."""
    h, p = style.height, style.pen
    kind = rng.choice(["dot", "comma", "dash", "slash", "bracket", "colon", "equals", "plus", "currency", "stroke_end"],
                      p=[.32, .17, .16, .1, .07, .04, .04, .04, .03, .03])
    if kind == "dot":
        y = base - rng.uniform(-0.05, 0.12) * h
        r = p * rng.uniform(0.5, 1.1)
        sheet.polyline(np.array([[x + r, y], [x + r + rng.uniform(0, .06) * h, y + rng.uniform(-.03, .05) * h]]), 2 * r)
        return x + 2 * r + .06 * h
    if kind == "comma":
        w, l = rng.uniform(0, .15) * h, rng.uniform(.12, .35) * h
        y = base - rng.uniform(-.02, .15) * h
        sheet.polyline(np.array([[x + w, y], [x + w * rng.uniform(.6, 1.2), y + l * .5], [x, y + l]]), p)
        return x + w + p
    if kind == "dash":
        y, l = base - rng.uniform(.3, .6) * h, rng.uniform(.2, 1.4) * h
        for _ in range(rng.choice([1, 2], p=[.85, .15])):
            sheet.polyline(np.array([[x, y], [x + l / 2, y + rng.uniform(-.06, .06) * h], [x + l, y + rng.uniform(-.1, .1) * h]]), p)
            y += rng.uniform(.12, .25) * h
        return x + l
    if kind == "slash":
        w, up, down = rng.uniform(.2, .8) * h, rng.uniform(1.0, 1.35) * h, rng.uniform(0, .3) * h
        sheet.polyline(np.array([[x + w, base - up], [x, base + down]]), p)
        return x + w
    if kind == "bracket":
        w, up, down, s = rng.uniform(.1, .3) * h, rng.uniform(1.0, 1.3) * h, rng.uniform(0, .3) * h, rng.choice([-1, 1])
        t = np.linspace(-1, 1, 9)
        bow = w * (1 - t**2) if s > 0 else w * t**2
        sheet.polyline(np.stack([x + bow, base + (down - up) / 2 + t * (up + down) / 2], 1), p)
        return x + w
    if kind == "colon":
        for y in (base - .15 * h, base - .55 * h):
            sheet.polyline(np.array([[x + p, y], [x + p + 1, y + 1]]), 1.3 * p)
        return x + 2 * p
    if kind == "equals":
        l = rng.uniform(.3, .7) * h
        for y in (base - .3 * h, base - .55 * h):
            sheet.polyline(np.array([[x, y], [x + l, y + rng.uniform(-.05, .05) * h]]), p)
        return x + l
    if kind == "plus":
        l, y = rng.uniform(.3, .6) * h, base - .45 * h
        sheet.polyline(np.array([[x, y], [x + l, y]]), p)
        sheet.polyline(np.array([[x + l / 2, y - l / 2], [x + l / 2, y + l / 2]]), p)
        return x + l
    if kind == "currency":
        l = rng.uniform(.35, .6) * h
        t = np.linspace(.3, 2 * np.pi - .3, 14) if rng.random() < .5 else np.linspace(-.5, 4.2, 14)
        sheet.polyline(np.stack([x + l / 2 + l / 2 * np.cos(t), base - h / 2 + h * .5 * np.sin(t)], 1), p)
        for y in (.4, .6):
            sheet.polyline(np.array([[x - .1 * h, base - y * h], [x + l * .7, base - y * h]]), p)
        return x + l
    t = np.linspace(0, 1, 6)  # a flourish at the end
    l = rng.uniform(.5, 2) * h
    sheet.polyline(np.stack([x + l * t, base - .3 * h + .15 * h * np.sin(6 * t)], 1), p)
    return x + l


# ---------------------------------------------------------------- rows


def write_row(rng, sheet: Sheet, glyphs: Glyphs, style: Style, x: float, base: float, end: float, *, num: int | None = None,
              slope: float = 0.0, mixed: bool = False, mark_share: float = 0.12) -> float:
    """Writes digits from x on until `end`, or so many."""
    start, wander, n = x, 0.0, 0
    repeat = rng.random() < .15
    cls = int(rng.integers(10))
    zeros_end = rng.random() < 0.3  # amounts end in zeros
    while num is None or n < num:
        if repeat and rng.random() < .6:
            pass
        elif zeros_end and num and n >= num - 3 and n and rng.random() < .75:
            cls = 0
        else:
            cls = int(rng.integers(10))
        hand = glyphs.hands[int(rng.integers(len(glyphs.hands)))] if mixed else style.hand
        pool = hand[cls] or glyphs.hands[0][cls]
        character = pool[int(rng.integers(len(pool)))]
        h = style.height * np.exp(rng.normal(0, style.jitter)) * (style.small_zero if cls == 0 else 1)
        wander = 0.8 * wander + rng.normal(0, 0.04) * style.height
        y = base + slope * (x - start) + wander
        if h < .7 * style.height and rng.random() < .4:
            y -= rng.uniform(0, 1) * (style.height - h)
        if x + .6 * h > end:
            break
        box = write(rng, sheet, character, style, x, y, h)
        sheet.boxes.append(box)
        sheet.labels.append(cls)
        n += 1
        x = box[2] + (style.gap + rng.normal(0, .05)) * style.height - max(style.slant, 0) * .25 * style.height
        x = max(x, box[0] + .12 * style.height)
        if rng.random() < mark_share and x + .5 * style.height < end:
            x = max(x, box[2] - .1 * style.height)
            x = _mark(rng, sheet, style, x + rng.uniform(0, .12) * style.height, base + slope * (x - start) + wander) + rng.uniform(0, .2) * style.height
        elif rng.random() < .04:
            x += rng.uniform(.3, 1.2) * style.height
    return x


def write_string(rng, sheet, glyphs, style, x, base):
    """A number as somebody wrote it."""
    strokes, cuts = glyphs.strings[int(rng.integers(len(glyphs.strings)))]
    pts = [round_corners(s) if 2 < len(s) < 12 else s for s in strokes]
    tall = np.median([np.ptp(np.concatenate(pts[i:j])[:, 1]) for i, j, d in cuts if d >= 0])
    been = np.concatenate(pts)
    low, high = been.min(0), been.max(0)
    scale = style.height / max(tall, 1e-3)
    shear = rng.normal(0, .15)
    m = np.array([[style.stretch, rng.normal(0, .02)], [-shear, 1]])
    pts = [((p - [low[0], high[1]]) * scale) @ m for p in pts]
    been = np.concatenate(pts)
    shift = np.array([x - been[:, 0].min(), base - been[:, 1].max()])
    for p in pts:
        sheet.polyline(p + shift, style.pen)
    half = style.pen / 2
    for i, j, d in cuts:
        if d >= 0:
            b = np.concatenate(pts[i:j]) + shift
            sheet.boxes.append((*(b.min(0) - half), *(b.max(0) + half))); sheet.labels.append(d)
    return been[:, 0].max() + shift[0]


def write_letters(rng, sheet, glyphs, style, x, base, end):
    """Letters in a row, words perhaps; no digit."""
    while x < end - .5 * style.height:
        if glyphs.words and rng.random() < .7:
            c = glyphs.words[int(rng.integers(len(glyphs.words)))]
            been = np.concatenate(c.ink); size = np.ptp(been, axis=0)
            h = style.height * rng.uniform(.8, 1.3)
            if x + h * size[0] / max(size[1], 1) > end + 2 * style.height:
                break
        else:
            c = glyphs.others[int(rng.integers(len(glyphs.others)))]
            h = style.height * rng.uniform(.6, 1.2)
        box = write(rng, sheet, c, style, x, base, h)
        x = box[2] + rng.uniform(0.05, .5) * style.height


# ---------------------------------------------------------------- layouts


def compose(rng: np.random.Generator, glyphs: Glyphs, height: int, width: int, low: float = 14, high: float = 34) -> Page:
    """Composes a picture of such a size; digits are low to high pixels high."""
    kind = rng.choice(["row", "rows", "table", "scattered", "letters"], p=[.1, .35, .25, .1, .2])
    sheet = Sheet(height, width)
    h = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    marks = float(rng.choice([0, .1, .3]))
    if kind == "row":
        h = min(h, .9 * height)
        style = choose_style(rng, glyphs, h)
        y = rng.uniform(h, height) if height > 1.1 * h else (height + h) / 2
        write_row(rng, sheet, glyphs, style, rng.uniform(-.2, 1) * h, y, width, slope=rng.normal(0, .04), mark_share=marks, mixed=rng.random() < .2,
                  num=int(rng.integers(1, 9)))
        if rng.random() < .25:
            _strike(rng, sheet, style, y)
    elif kind in ("rows", "letters"):
        y, pitch, slope = rng.uniform(0, 1.2) * h, rng.uniform(1.15, 3), rng.normal(0, .04)
        style = choose_style(rng, glyphs, h)
        mixed = rng.random() < .15
        while y < height + h:
            letters = rng.random() < (.75 if kind == "letters" else .1)
            x = rng.uniform(-1, 2.5) * h
            if not letters and glyphs.strings and rng.random() < .2:
                while x < width:
                    x = write_string(rng, sheet, glyphs, style, x, y) + rng.uniform(.4, 3) * h
            elif letters:
                write_letters(rng, sheet, glyphs, style, x, y, width)
            else:
                write_row(rng, sheet, glyphs, style, x, y, width + h, slope=slope, mark_share=marks, mixed=mixed,
                          num=int(rng.integers(1, 13)))
            y += pitch * h * rng.uniform(.9, 1.15)
            if rng.random() < .2:
                style = choose_style(rng, glyphs, h)
    elif kind == "table":
        _table(rng, sheet, glyphs, h, height, width)
    else:
        for _ in range(int(rng.integers(1, 12))):
            style = choose_style(rng, glyphs, h * rng.uniform(.8, 1.25))
            x, y = rng.uniform(0, width - .5 * h), rng.uniform(h, height)
            box0 = (x - .1 * h, y - h, x + h, y + .1 * h)
            if any(_overlap(box0, b) for b in sheet.boxes):
                continue
            if rng.random() < .8:
                write_row(rng, sheet, glyphs, style, x, y, width + h, num=1, mark_share=0, mixed=True)
            else:
                write_letters(rng, sheet, glyphs, style, x, y, min(x + h, width))
    return sheet, kind, h


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _strike(rng, sheet, style, y):
    """An underline, or two."""
    if not sheet.boxes:
        return
    l, r = sheet.boxes[0][0], sheet.boxes[-1][2]
    y = y + rng.uniform(.08, .35) * style.height
    for _ in range(rng.choice([1, 2])):
        sheet.polyline(np.array([[l - rng.uniform(-.3, .5) * style.height, y], [r + rng.uniform(-.3, .5) * style.height, y + rng.normal(0, .05) * style.height]]), style.pen)
        y += .15 * style.height


def _table(rng, sheet, glyphs, h, height, width):
    cw, ch = h * rng.uniform(1.05, 3), h * rng.uniform(1.1, 2.6)
    x0, y0 = rng.uniform(-cw, .5 * cw), rng.uniform(-ch, .5 * ch)
    pen, light = max(.5, h * rng.uniform(.02, .09)), int(rng.integers(60, 256))
    tilt = rng.normal(0, .01)
    ruled = rng.choice(["both", "rows", "none", "columns"], p=[.7, .1, .15, .05])
    right, bottom = (width + cw, height + ch) if rng.random() < .6 else (width * rng.uniform(.6, 1), height * rng.uniform(.6, 1))
    xs, ys = np.arange(x0, right, cw), np.arange(y0, bottom, ch)
    thick = int(rng.choice([0, 0, 3]))
    for i, y in enumerate(ys):
        if ruled in ("both", "rows"):
            sheet.polyline(np.array([[xs[0], y], [xs[-1], y + tilt * (xs[-1] - xs[0])]]), pen * (2 if thick and i % thick == 0 else 1), light)
    for i, x in enumerate(xs):
        if ruled in ("both", "columns"):
            sheet.polyline(np.array([[x, ys[0]], [x - tilt * (ys[-1] - ys[0]), ys[-1]]]), pen * (2 if thick and i % thick == 0 else 1), light)
    style = choose_style(rng, glyphs, h)
    filled, mixed = rng.choice([1, .8, .4]), rng.random() < .3
    multi = rng.random() < .2
    for y in ys[:-1]:
        if rng.random() < .4:
            style = choose_style(rng, glyphs, h)
        for x in xs[:-1]:
            if rng.random() > filled:
                continue
            num = int(rng.integers(1, 4)) if multi else 1
            hh = h * rng.uniform(.8, 1.1)
            write_row(rng, sheet, glyphs, style._replace(height=hh, gap=min(style.gap, .2)), x + rng.uniform(.1, .35) * cw, y + ch - rng.uniform(.0, .9) * (ch - hh),
                      x + cw * 1.05 + (cw if multi else h), num=num, mark_share=0, mixed=mixed)


# ---------------------------------------------------------------- paper and camera


def photograph(rng, sheet: Sheet, height: int, width: int, h: float) -> np.ndarray:
    ink = cv2.resize(sheet.ink, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    light = np.full((height, width), rng.uniform(120, 255), np.float32)
    plain = rng.random() < .35
    if not plain:
        _ground(rng, light, h)
    dark = rng.uniform(.35, 1)
    if rng.random() < .3:  # a pen that fades
        dark = dark * cv2.resize(rng.uniform(rng.uniform(.4, 1), 1, (6, 10)).astype(np.float32), (width, height))
    if rng.random() < .15:  # pencil, chalk
        ink = ink * np.clip(1.3 - rng.uniform(.2, .9) * rng.random((height, width), np.float32), 0, 1)
    picture = light * (1 - dark * ink)
    if rng.random() < .6:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(.3, .055 * h))
    if rng.random() < .25:  # found small
        f = rng.uniform(.35, .8)
        small = cv2.resize(picture, None, fx=f, fy=f, interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR if rng.random() < .7 else cv2.INTER_NEAREST)
    if not plain or rng.random() < .2:
        picture = picture + rng.normal(0, rng.uniform(0, 8), picture.shape).astype(np.float32)
    picture = picture.clip(0, 255)
    if rng.random() < .3:
        picture = 255 - picture
    picture = picture.astype(np.uint8)
    if rng.random() < .4:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return picture


def _ground(rng, light, h):
    height, width = light.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < .5:  # lamp
        light += rng.uniform(-.4, .4) * (xs - width / 2) + rng.uniform(-.4, .4) * (ys - height / 2)
    if rng.random() < .3:  # grain, cloth
        for s in (1, 3, 8):
            g = rng.normal(0, rng.uniform(0, 9), (height // s + 1, width // s + 1)).astype(np.float32)
            light += cv2.resize(g, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < .2:  # shadow
        d = (xs - rng.uniform(0, width)) * np.cos(a := rng.uniform(0, 6.3)) + (ys - rng.uniform(0, height)) * np.sin(a)
        light *= 1 - rng.uniform(.1, .5) / (1 + np.exp(-d / rng.uniform(1, 20)))
    if rng.random() < .4:  # guilloche
        for _ in range(int(rng.integers(1, 4))):
            a, f = rng.uniform(0, np.pi), 2 * np.pi / rng.uniform(3, 14)
            u, v = xs * np.cos(a) + ys * np.sin(a), -xs * np.sin(a) + ys * np.cos(a)
            wave = rng.uniform(0, 10) * np.sin(v * 2 * np.pi / rng.uniform(15, 120) + rng.uniform(0, 6.3))
            line = np.cos(f * (u + wave))
            light -= rng.uniform(5, 40) * np.clip(line - rng.uniform(-.5, .8), 0, 1)
    if rng.random() < .3:  # rules, squares
        pitch, w, dark = h * rng.uniform(.6, 2.5), max(1, round(h * rng.uniform(.02, .07))), rng.uniform(.5, .95)
        for y in np.arange(rng.uniform(0, pitch), height, pitch):
            light[int(y) : int(y) + w] *= dark
        if rng.random() < .4:
            for x in np.arange(rng.uniform(0, pitch), width, pitch):
                light[:, int(x) : int(x) + w] *= dark
    if rng.random() < .1:  # large shapes: what lies around, parts of larger writing
        for _ in range(int(rng.integers(1, 4))):
            pts = np.stack([rng.uniform(-.3, 1.3, 4) * width, rng.uniform(-.3, 1.3, 4) * height], 1)
            cv2.polylines(light, [np.rint(round_corners(pts)).astype(np.int32)], False, float(rng.uniform(20, 200)), int(rng.integers(3, 24)), cv2.LINE_AA)
    if rng.random() < .06:  # print
        text = np.zeros(light.shape, np.uint8)
        for y in np.arange(rng.uniform(0, 20), height, rng.uniform(14, 30)):
            cv2.putText(text, "".join(rng.choice(list("abcdefghknmprtuvwxyACEFHKMNPRUVWX ehan rtu "), 40)), (int(rng.uniform(-20, 20)), int(y)),
                        int(rng.choice([0, 2, 3, 4])), rng.uniform(.3, .7), 255, 1, cv2.LINE_AA)
        light *= 1 - text / np.float32(255) * np.float32(rng.uniform(.3, .95))
    np.clip(light, 0, 255, out=light)


def compose_strip(rng, glyphs, height, width):
    """A picture of one row, cropped at the ink more or less."""
    while True:
        sheet, h = Sheet(height, width), float(np.exp(rng.uniform(np.log(14), np.log(min(34, .85 * height)))))
        style = choose_style(rng, glyphs, h)
        slope = rng.normal(0, .03)
        y = rng.uniform(h, height - .05 * h)
        if glyphs.strings and rng.random() < .2:
            end = write_string(rng, sheet, glyphs, style, rng.uniform(0, .5) * h, y)
            sheet.ink = np.pad(sheet.ink, ((0, 0), (0, 0)))
            if end > width - 2 and rng.random() < .8:
                continue
        else:
            write_row(rng, sheet, glyphs, style, rng.uniform(0, .5) * h, y, width - 2, slope=slope, mark_share=float(rng.choice([0, .1, .3])),
                  mixed=rng.random() < .2, num=int(rng.integers(1, 9)))
        if sheet.boxes:
            break
    if rng.random() < .2:
        _strike(rng, sheet, style, y)
    picture = photograph(rng, sheet, height, width, h)
    boxes, labels = np.array(sheet.boxes, np.float32), np.array(sheet.labels, np.int32)
    if rng.random() < .85:
        m = rng.uniform(-.04, .4, 4) * h
        l, t = np.floor(boxes[:, :2].min(0) - m[:2]).clip(0).astype(int)
        r, b = np.ceil(boxes[:, 2:].max(0) + m[2:]).astype(int)
        picture, boxes = picture[t:b, l:r], boxes - np.array([l, t, l, t], np.float32)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    ok = (middle > 1).all(1) & (middle < [picture.shape[1] - 1, picture.shape[0] - 1]).all(1)
    return Page(picture, boxes[ok], labels[ok])


def compose_page(rng, glyphs: Glyphs, height: int, width: int) -> Page:
    """One canvas, of one picture or of several below each other and side by side."""
    if rng.random() < .5:
        return _mosaic(rng, glyphs, height, width)
    sheet, _, h = compose(rng, glyphs, height, width)
    boxes, labels = np.array(sheet.boxes, np.float32).reshape(-1, 4), np.array(sheet.labels, np.int32)
    picture = photograph(rng, sheet, height, width, h)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = (middle > 1).all(1) & (middle < [width - 1, height - 1]).all(1)
    return Page(picture, boxes[inside], labels[inside])


def _mosaic(rng, glyphs, height, width):
    canvas, boxes, labels, y = np.full((height, width), int(rng.integers(256)), np.uint8), [], [], 0
    while y < height - 20:
        x, tall = 0, 0
        row = int(rng.integers(24, 60))
        while x < width - 30:
            strip = compose_strip(rng, glyphs, min(row, height - y), int(rng.integers(60, 260)))
            p = strip.picture[: height - y, : width - x]
            if not p.size: break
            gap = int(rng.integers(0, 16))
            edge = int(np.median(np.concatenate([p[0], p[-1], p[:, 0], p[:, -1]])))
            canvas[y : y + max(row, p.shape[0]), x : x + p.shape[1] + gap] = edge  # padded as a picture alone is
            canvas[y : y + p.shape[0], x : x + p.shape[1]] = p
            b = strip.boxes + np.array([x, y, x, y], np.float32)
            middle = (b[:, :2] + b[:, 2:]) / 2
            ok = (middle > 1).all(1) & (middle < [width - 1, height - 1]).all(1)
            boxes.append(b[ok]); labels.append(strip.labels[ok])
            x += p.shape[1] + gap; tall = max(tall, p.shape[0])
        y += max(tall, row) + int(rng.integers(0, 4))
    return Page(canvas, np.concatenate(boxes), np.concatenate(labels))
