"""Errors on corrupted test digits: the fifteen kinds of MNIST-C (Mu and Gilmer 2019, https://arxiv.org/abs/1906.02337).

    python benchmarks/corruptions.py checkpoints/default checkpoints/mnist-cnn-32-64-64 --idx-dir FOLDER --out FILE.json

Each kind is reimplemented from its description, at the published strength, for all test digits and always with the same
seed. A network sees the corrupted 28x28 pixels as they are, without this library's preprocessing, and answers with one
of the ten digits; the figure that counts is the mean of the fifteen errors. `--split validation` corrupts the
validation digits instead, for choosing between recipes.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy import ndimage
from skimage import feature

from digitjax.config import CENTER, SIZE
from digitjax.data.splits import load_splits
from digitjax.nn.looks import predict_logits
from digitjax.runs.weights import load_model

SEED = 0

Images = Float32[np.ndarray, "n 28 28"]
"""Ink from 0 to 1."""

Corruption = Callable[[np.random.Generator, Images], Float[np.ndarray, "n 28 28"]]


# ---------------------------------------------------------------- noise


def add_shot_noise(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Adds shot noise, with three photons for white."""
    return rng.poisson(images * 3) / 3


def add_impulse_noise(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Turns 17 % of the pixels black or white."""
    noise = rng.integers(0, 2, images.shape)
    return np.where(rng.random(images.shape) < 0.17, noise, images)


def add_fog(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Adds three times as much fog as light, and dims the sum to fit."""
    maxima = images.max(axis=(1, 2), keepdims=True)
    return (images + 3 * _draw_plasma(rng, len(images), decay=1.4)) * maxima / (maxima + 3)


def _draw_plasma(rng: np.random.Generator, n: int, decay: float) -> Float[np.ndarray, "n 28 28"]:
    """Draws clouds: corners of 256x256 maps, from 0 to 1, by midpoint displacement (Fournier et al. 1982)."""
    maps, step, reach = np.zeros((n, 256, 256)), 256, 100.0
    while step >= 2:
        half, corners = step // 2, maps[:, ::step, ::step]

        def displace(total: Float[np.ndarray, "n h w"], reach: float = reach) -> Float[np.ndarray, "n h w"]:
            return total / 4 + reach * rng.uniform(-reach, reach, total.shape)

        rows = corners + np.roll(corners, -1, axis=1)
        centers = displace(rows + np.roll(rows, -1, axis=2))
        columns = corners + np.roll(corners, -1, axis=2)
        maps[:, half::step, half::step] = centers
        maps[:, ::step, half::step] = displace(centers + np.roll(centers, 1, axis=1) + columns)
        maps[:, half::step, ::step] = displace(centers + np.roll(centers, 1, axis=2) + rows)
        step, reach = half, reach / decay
    maps -= maps.min(axis=(1, 2), keepdims=True)
    return maps[:, :SIZE, :SIZE] / maps.max(axis=(1, 2), keepdims=True)


def spatter(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Covers the picture with splashes of mud, a quarter as bright as ink."""
    drops = _blur(rng.normal(0.65, 0.3, images.shape), 1) > 0.65
    mud = _blur(drops.astype(np.float64), 1.5)
    mud[mud < 0.8] = 0
    return images * (1 - mud) + 63 / 255 * mud


# ---------------------------------------------------------------- blur


def _blur(images: Float[np.ndarray, "n h w"], sigma: float) -> Float[np.ndarray, "n h w"]:
    return ndimage.gaussian_filter(images, (0, sigma, sigma), mode="nearest")


def blur_by_glass(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Blurs, swaps half of the pixels with one beside or above them, twice over, and blurs again."""
    images = np.floor(_blur(images, 0.7) * 255) / 255
    everyone = np.arange(len(images))
    for _ in range(2):
        for y in range(SIZE - 1, 1, -1):
            for x in range(SIZE - 1, 1, -1):
                swapped = everyone[rng.random(len(images)) < 0.5]
                to_y, to_x = y + rng.integers(-1, 1, len(swapped)), x + rng.integers(-1, 1, len(swapped))
                pixels = images[swapped, to_y, to_x]
                images[swapped, to_y, to_x] = images[swapped, y, x]
                images[swapped, y, x] = pixels
    return _blur(images, 0.7)


def blur_by_motion(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Smears to one side, as ImageMagick's motion blur does: half a Gaussian of 3 pixels, 21 pixels long."""
    angles = np.deg2rad(rng.uniform(-45, 45, len(images)))
    steps = np.arange(21)
    weights = np.exp(-(steps**2) / (2 * 3**2))
    y, x = np.mgrid[:SIZE, :SIZE]
    total = np.zeros(images.shape)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        down, right = (np.ceil(step * way - 0.5).astype(int)[:, None, None] for way in (np.sin(angles), np.cos(angles)))
        rows, columns = np.clip(y + down, 0, SIZE - 1), np.clip(x + right, 0, SIZE - 1)
        total += weight * images[np.arange(len(images))[:, None, None], rows, columns]
    return total


# ---------------------------------------------------------------- geometry


def _warp(images: Images, matrices: Float[np.ndarray, "n 2 2"]) -> Float[np.ndarray, "n 28 28"]:
    """Maps each position (x, y), measured from the centre, to where its pixel comes from; bilinear, blank outside."""
    y, x = np.mgrid[:SIZE, :SIZE] - CENTER
    places = np.einsum("nij,jyx->niyx", matrices, np.stack([x, y])) + CENTER
    pairs = zip(images, places, strict=True)
    return np.stack([ndimage.map_coordinates(image, place[::-1], order=1) for image, place in pairs])


def _draw_signs(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Float[np.ndarray, "..."]:
    return rng.choice([-1.0, 1.0], shape)


def shear(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Slants to either side by 0.4 radians, as scikit-image understood it in 2019: the height grows with it."""
    lean = 0.4 * _draw_signs(rng, len(images))
    ones, zeros = np.ones(len(images)), np.zeros(len(images))
    return _warp(images, np.stack([ones, -np.sin(lean), zeros, np.cos(lean)], axis=-1).reshape(-1, 2, 2))


def scale(_: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Shrinks to 70 %."""
    return _warp(images, np.tile(np.eye(2) / 0.7, (len(images), 1, 1)))


def rotate(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Rotates to either side by 0.4 radians, 23 degrees."""
    turn = 0.4 * _draw_signs(rng, len(images))
    cos, sin = np.cos(turn), np.sin(turn)
    return _warp(images, np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2))


def translate(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Moves by three pixels up or down and three to the left or right."""
    shifts = (3 * _draw_signs(rng, (len(images), 2))).astype(int)
    padded = np.pad(images, ((0, 0), (3, 3), (3, 3)))
    return np.stack([p[3 + y : 3 + y + SIZE, 3 + x : 3 + x + SIZE] for p, (y, x) in zip(padded, shifts, strict=True)])


# ---------------------------------------------------------------- light and lines


def brighten(_: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Adds half the brightness of white."""
    return images + 0.5


def invert_stripes(_: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Inverts the left and the right quarter."""
    images = images.copy()
    for quarter in (images[:, :, :7], images[:, :, 21:]):
        quarter[...] = 1 - quarter
    return images


Columns = Float[np.ndarray, "n"]


def _draw_lines(x0: Columns, y0: Columns, x1: Columns, y1: Columns) -> Float[np.ndarray, "n 28 28"]:
    """Draws a line per image, which fades with the distance above and below it: 1 + log(1 - distance / 2.3)."""
    x0, y0, x1, y1 = (values[:, None, None] for values in (x0, y0, x1, y1))
    y, x = np.mgrid[:SIZE, :SIZE]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.clip(np.abs(y - (y0 + (x - x0) * (y1 - y0) / (x1 - x0))), 0, 2.3 - 1e-10)
    on_line = (x >= np.floor(x0)) & (x < np.ceil(x1)) & (x0 != x1)
    return np.where(on_line, np.clip(1 + np.log(1 - distance / 2.3), 0, 1), 0)


def add_dotted_line(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Draws a dotted line from the left edge to the right, two pixels on and two off."""
    n = len(images)
    y0, y1 = rng.integers(0, SIZE - 1, (2, n)).astype(float)
    lines = _draw_lines(np.zeros(n), y0, np.full(n, SIZE - 1.0), y1)
    return images + lines * (np.arange(SIZE) // 2 % 2)


def add_zigzag(rng: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Draws a zigzag across, 2 pixels up and down, along a line that rises or falls by up to 5."""
    left, right, n = 2.0, 25.0, len(images)
    y0 = rng.integers(0, SIZE - 1, n).astype(float)
    slope = np.arctan(rng.integers(-5, 5, n) / (right - left))
    length = (right - left) / np.cos(slope)
    along = np.concatenate([np.tile([0.0, 2, 6, 10, 14, 18, 22], (n, 1)), length[:, None]], axis=1)
    across = np.concatenate([np.tile([0.0, 2, -2, 2, -2, 2, -2], (n, 1)), -1 / (length[:, None] - 20)], axis=1)
    cos, sin = np.cos(slope)[:, None], np.sin(slope)[:, None]
    x, y = left + cos * along - sin * across, y0[:, None] + sin * along + cos * across
    for i in range(x.shape[1] - 1):
        images = np.clip(images + _draw_lines(x[:, i], y[:, i], x[:, i + 1], y[:, i + 1]), 0, 1)
    return images


def find_edges(_: np.random.Generator, images: Images) -> Float[np.ndarray, "n 28 28"]:
    """Keeps only the edges (Canny 1986), white on black."""
    return np.stack([feature.canny(image.astype(np.float64)) for image in images]).astype(np.float64)


CORRUPTIONS: dict[str, Corruption] = {
    "shot noise": add_shot_noise,
    "impulse noise": add_impulse_noise,
    "glass blur": blur_by_glass,
    "motion blur": blur_by_motion,
    "shear": shear,
    "scale": scale,
    "rotate": rotate,
    "brightness": brighten,
    "translate": translate,
    "stripe": invert_stripes,
    "fog": add_fog,
    "spatter": spatter,
    "dotted line": add_dotted_line,
    "zigzag": add_zigzag,
    "canny edges": find_edges,
}

CHUNK = 500
"""The number of images at a time: a map of fog is 256x256."""


def corrupt(name: str, images: UInt8[np.ndarray, "n 28 28 1"]) -> UInt8[np.ndarray, "n 28 28 1"]:
    """Returns the corrupted images, rounded to whole levels; always the same, whatever other kinds are asked for."""
    rng = np.random.default_rng([SEED, list(CORRUPTIONS).index(name)])
    inks = images[..., 0].astype(np.float32) / 255
    chunks = [CORRUPTIONS[name](rng, inks[start : start + CHUNK]) for start in range(0, len(inks), CHUNK)]
    return np.rint(np.clip(np.concatenate(chunks), 0, 1) * 255).astype(np.uint8)[..., None]


# ---------------------------------------------------------------- command


def main() -> None:
    """Prints a table of errors, and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of trained models")
    parser.add_argument("--idx-dir", type=Path, help="the folder of MNIST's four files")
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="which digits (default: test)")
    parser.add_argument("--out", type=Path, help="a JSON file for the results")
    args = parser.parse_args()

    models = [load_model(run) for run in args.runs]
    splits = load_splits("mnist", None, args.idx_dir)
    digits = splits.test if args.split == "test" else splits.validation
    errors: dict[str, list[float]] = {}
    for name in ["none", *CORRUPTIONS]:
        images = digits.images if name == "none" else corrupt(name, digits.images)
        logits = [predict_logits(trained, images) for trained in models]
        errors[name] = [float(np.mean(each.argmax(-1) != digits.labels)) for each in logits]
        print(f"{name:<16}" + "".join(f"{error:>10.2%}" for error in errors[name]), flush=True)
    means = np.mean([errors[name] for name in CORRUPTIONS], axis=0).tolist()
    print(f"{'mean of fifteen':<16}" + "".join(f"{mean:>10.2%}" for mean in means))
    if args.out:
        results = [
            {
                "run": run.name,
                "model": trained.config.model,
                "seed": trained.config.seed,
                "mean_corruption_error": mean,
                "errors": {name: values[i] for name, values in errors.items()},
            }
            for i, (run, trained, mean) in enumerate(zip(args.runs, models, means, strict=True))
        ]
        args.out.write_text(json.dumps({"split": args.split, "seed": SEED, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
