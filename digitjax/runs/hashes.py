"""SHA-256 hashes beside a checkpoint's files: a file damaged on disk or in transit is named, never loaded.

They are in `SHA256SUMS`, in the format that `sha256sum --check SHA256SUMS` understands. They aren't a signature:
whoever can change the files can change the hashes.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from digitjax.runs.files import RunFile, write_text


def write_sums(folder: Path, names: Sequence[str] = ("",)) -> None:
    """Writes into `SHA256SUMS` the hashes of the named files, and of the files in the named folders ("": all)."""
    text = "".join(f"{digest}  {name}\n" for name, digest in _hash_files(folder, names).items())
    write_text(folder / RunFile.SUMS, text)


def find_damage(folder: Path, names: Sequence[str] = ("",)) -> str | None:
    """Returns which file has changed since `write_sums` was called with these arguments; None: no file has."""
    try:
        *lines, rest = (folder / RunFile.SUMS).read_bytes().decode().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        return f"{folder / RunFile.SUMS}: can't be read ({reason})"
    wanted = {}
    for number, line in enumerate([*lines, rest] if rest else lines, 1):
        if not (match := re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)):
            return f"{folder / RunFile.SUMS}: line {number} isn't a hash and a file"
        wanted[match[2]] = match[1]
    # Only files inside the folder are opened, whatever the list names.
    found = _hash_files(folder, names)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            return f"{folder / name}: is missing"
        if name not in wanted:
            return f"{folder / name}: isn't listed in {RunFile.SUMS}"
        if wanted[name] != found[name]:
            return f"{folder / name}: is damaged: its hash isn't the one in {RunFile.SUMS}"
    return None


def _hash_files(folder: Path, names: Sequence[str]) -> dict[str, str]:
    paths = [path for name in names for path in (folder / name, *sorted((folder / name).rglob("*")))]
    digests = {}
    for path in paths:
        if path.is_file() and path.name != RunFile.SUMS and not path.name.startswith("."):
            with path.open("rb") as file:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
