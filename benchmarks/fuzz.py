"""Gives hostile files, mutated pictures of all formats, to the reader, which may only answer or raise ImageError.

    python benchmarks/fuzz.py --count 20000 --seed 0

Valid pictures are mutated in their headers and bodies: bytes flipped, numbers made huge, pieces cut out, repeated or
taken from another format, ends cut off, sizes falsified. A separate process reads them, so that a crash is noticed. If
a file takes more than 2 s or 1 GiB, crashes or raises anything else, it is kept and the exit status is 1.
"""

import argparse
import io
import multiprocessing
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from digitjax.pictures.preprocess import preprocess_image
from digitjax.pictures.segment import find_rows
from digitjax.predict import ImageError

MAX_SECONDS, MAX_BYTES = 2.0, 2**30

# After this long, a file is given up.
GIVE_UP_SECONDS = 60.0

# ---------------------------------------------------------------- valid pictures


def draw_whole() -> dict[str, bytes]:
    """Draws small pictures in every format, and in many variants of each."""
    y, x = np.mgrid[:48, :40]
    ink = np.where(np.abs(x - 20) + (y % 7) < 8, 30, 240).astype(np.uint8)
    gray = Image.fromarray(ink)
    rgba = gray.convert("RGBA")
    rgba.putalpha(Image.fromarray(255 - ink))
    kinds: list[tuple[str, str, Image.Image, dict[str, object]]] = [
        ("png", "PNG", gray, {}),
        ("png 1 bit", "PNG", gray.convert("1"), {}),
        ("png palette", "PNG", gray.convert("P"), {"transparency": 3}),
        ("png rgba", "PNG", rgba, {}),
        ("png 16 bit", "PNG", Image.fromarray(ink.astype(np.uint16) * 257), {}),
        ("jpeg", "JPEG", gray, {"quality": 80}),
        ("jpeg progressive", "JPEG", gray.convert("RGB"), {"progressive": True, "exif": _turned()}),
        ("jpeg cmyk", "JPEG", gray.convert("CMYK"), {}),
        ("webp", "WEBP", rgba, {}),
        ("webp lossless", "WEBP", rgba, {"lossless": True}),
        ("webp moving", "WEBP", rgba, {"save_all": True, "append_images": [rgba.rotate(90)]}),
        ("gif", "GIF", gray, {}),
        ("gif moving", "GIF", gray, {"save_all": True, "append_images": [gray.rotate(90)]}),
        ("bmp", "BMP", gray, {}),
        ("bmp rgb", "BMP", gray.convert("RGB"), {}),
        *(("tiff " + (c or "raw"), "TIFF", gray, {"compression": c}) for c in (None, "tiff_lzw", "tiff_adobe_deflate")),
        ("tiff fax", "TIFF", gray.convert("1"), {"compression": "group4"}),
        ("tiff jpeg", "TIFF", gray.convert("RGB"), {"compression": "jpeg"}),
        ("tiff float", "TIFF", Image.fromarray(ink.astype(np.float32)), {}),
        ("ppm", "PPM", gray.convert("RGB"), {}),
        ("avif", "AVIF", gray.convert("RGB"), {}),
        ("jpeg 2000", "JPEG2000", gray, {}),
        ("ico", "ICO", rgba, {}),
        ("tga", "TGA", gray, {"compression": "tga_rle"}),
    ]
    whole = {}
    for name, format_name, image, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, format_name, **options)
        whole[name] = buffer.getvalue()
    return whole | {"png bomb": _make_bomb(9_900, 9_900), "png bomb beyond the limit": _make_bomb(60_000, 60_000)}


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _make_bomb(width: int, height: int) -> bytes:
    """Returns a PNG of a few kilobytes that claims to be this large, and partly is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    body = zlib.compress(bytes((width // 8 + 1) * 2_000), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- mutations

Mutation = Callable[[np.random.Generator, bytearray, bytes], bytearray]
"""(rng, the file, another file) -> the file, mutated."""

HEADER = 96


def _place(rng: np.random.Generator, data: bytearray) -> int:
    """Draws a position in a file: half of the time in the header."""
    end = min(len(data), HEADER) if rng.random() < 0.5 else len(data)
    return int(rng.integers(max(end, 1)))


def flip_bits(rng: np.random.Generator, data: bytearray, _: bytes) -> bytearray:
    """Flips one to eight bits."""
    for _ in range(int(rng.integers(1, 9)) if data else 0):
        data[_place(rng, data)] ^= 1 << int(rng.integers(8))
    return data


def set_bytes(rng: np.random.Generator, data: bytearray, _: bytes) -> bytearray:
    """Overwrites up to 16 bytes at random."""
    i, n = _place(rng, data), int(rng.integers(1, 17))
    data[i : i + n] = rng.bytes(min(n, len(data) - i))
    return data


def set_number(rng: np.random.Generator, data: bytearray, _: bytes) -> bytearray:
    """Writes an extreme number of 16 or 32 bits, in either byte order."""
    number = int(rng.choice([0, 1, 0x7F, 0x80, 0xFFFF, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 99_999]))
    i, size, order = _place(rng, data), int(rng.choice([2, 4])), str(rng.choice(["big", "little"]))
    data[i : i + size] = (number & (2 ** (8 * size) - 1)).to_bytes(size, "little" if order == "little" else "big")
    return data


def cut_end(rng: np.random.Generator, data: bytearray, _: bytes) -> bytearray:
    """Cuts off the end."""
    return data[: _place(rng, data)]


def cut_piece(rng: np.random.Generator, data: bytearray, _: bytes) -> bytearray:
    """Cuts out a piece."""
    i = _place(rng, data)
    del data[i : i + int(rng.integers(1, 64))]
    return data


def double_piece(rng: np.random.Generator, data: bytearray, _: bytes) -> bytearray:
    """Repeats a piece, up to a hundred times."""
    i, n = _place(rng, data), int(rng.integers(1, 200))
    data[i:i] = data[i : i + n] * int(rng.choice([1, 2, 100]))
    return data


def take_other(rng: np.random.Generator, data: bytearray, other: bytes) -> bytearray:
    """Continues as another file, or inserts a piece of it."""
    i, k = _place(rng, data), int(rng.integers(max(len(other), 1)))
    return data[:i] + other[k:] if rng.random() < 0.5 else data[:i] + other[k : k + 64] + data[i:]


def replace_all(rng: np.random.Generator, data: bytearray, _: bytes) -> bytearray:
    """Keeps the first bytes, which identify a format, and continues at random; or leaves an empty file."""
    return data[: int(rng.choice([0, 4, 12, 32]))] + rng.bytes(int(rng.choice([0, 1, 100, 5_000])))


MUTATIONS: tuple[Mutation, ...] = (
    *(flip_bits, flip_bits, set_bytes, set_number, set_number),
    *(cut_end, cut_piece, double_piece, take_other, replace_all),
)


def make_file(seed: int, index: int, whole: dict[str, bytes]) -> tuple[str, bytes]:
    """Returns what the `index`-th file of a seed was made from, and the file."""
    rng = np.random.default_rng([seed, index])
    names = list(whole)
    name, other = names[index % len(names)], whole[names[int(rng.integers(len(names)))]]
    data = bytearray(whole[name])
    for _ in range(int(rng.integers(0, 4))):
        data = MUTATIONS[int(rng.integers(len(MUTATIONS)))](rng, data, other)
    return name, bytes(data)


# ---------------------------------------------------------------- reading


def read_files(connection: Connection, seed: int, indices: range) -> None:
    """Reads files and sends (index, outcome, seconds, bytes by which the process has grown) for each."""
    whole = draw_whole()
    preprocess_image(whole["png"])
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index in indices:
        _, data = make_file(seed, index, whole)
        begin = time.perf_counter()
        try:
            (find_rows if index % 4 == 3 else preprocess_image)(data)
            outcome = "read"
        except ImageError:
            outcome = "refused"
        except BaseException as error:  # noqa: BLE001 - any exception is a finding
            outcome = f"raised {type(error).__name__}: {error}"
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
        connection.send((index, outcome, time.perf_counter() - begin, grown))


def fuzz(count: int, seed: int, kept: Path) -> int:
    """Reads `count` files, prints the outcomes, keeps the harmful files, and returns their number."""
    context = multiprocessing.get_context("spawn")
    outcomes, slowest, most, harmful, index = Counter[str](), (0.0, 0), 0, list[tuple[int, str]](), 0
    while index < count:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=read_files, args=(sender, seed, range(index, count)))
        process.start()
        sender.close()
        while index < count:
            try:
                if not receiver.poll(GIVE_UP_SECONDS):
                    raise EOFError  # noqa: TRY301 - a file that never ends counts as a crash
                index, outcome, seconds, grown = receiver.recv()
            except EOFError:
                process.kill()
                process.join()
                harmful.append((index, f"ended the process ({process.exitcode}) or took {GIVE_UP_SECONDS:.0f} s"))
                index += 1
                break
            outcomes[outcome.split(":", maxsplit=1)[0]] += 1
            slowest, most = max(slowest, (seconds, index)), max(most, grown)
            if outcome not in ("read", "refused"):
                harmful.append((index, outcome))
            if seconds > MAX_SECONDS:
                harmful.append((index, f"took {seconds:.1f} s"))
            index += 1
        process.join()
    if most > MAX_BYTES:
        harmful.append((count - 1, f"some file took {most / 2**20:.0f} MiB"))
    whole = draw_whole()
    for number, what in harmful:
        name, data = make_file(seed, number, whole)
        kept.mkdir(parents=True, exist_ok=True)
        (kept / f"{seed}-{number}").write_bytes(data)
        print(f"file {number}, of {name}: {what}; kept as {kept / f'{seed}-{number}'}")
    print(
        f"seed {seed}, {count:,} files: "
        + ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes.most_common())
        + f"; slowest {slowest[0]:.2f} s (file {slowest[1]}), memory grew by {most / 2**20:.0f} MiB, "
        f"{len(harmful)} did harm"
    )
    return len(harmful)


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="how many files (default: 20000)")
    parser.add_argument("--seed", type=int, default=0, help="decides the files (default: 0)")
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="where harmful files are kept (default: fuzz)")
    args = parser.parse_args()
    return 1 if fuzz(args.count, args.seed, args.keep) else 0


if __name__ == "__main__":
    sys.exit(main())
