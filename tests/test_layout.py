"""docs/design.md shows how the code is laid out: it must be so."""

import re
import tomllib

import pytest
from conftest import REPOSITORY

PACKAGE = REPOSITORY / "digitjax"


def read_tree():
    """Returns the files that the tree names in each room; those of "" stand at the top of the package."""
    text = (REPOSITORY / "docs/design.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"```\n(digitjax/\n.*?)```", text, re.DOTALL)
    rooms, room = {"": set()}, ""
    for line in tree.splitlines()[1:]:
        if not line.startswith(" "):  # what stands beside the package
            break
        if match := re.match(r"  (\w+)/ ", line):
            room = match[1]
            rooms[room] = set()
        else:
            rooms[room if line.startswith("    ") else ""].update(re.findall(r"(\w+\.py)\b", line))
    return rooms


def list_modules(folder):
    return {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}


def test_the_tree_is_true():
    rooms = read_tree()
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms.keys() == {"", *folders}
    for room, names in rooms.items():
        assert names == list_modules(PACKAGE / room), room


def test_the_contract_is_shown_on_imports():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    chain = " -> ".join(layer.replace(" | ", ", ") for layer in contract["layers"])
    assert f"\n{chain}\n" in (REPOSITORY / "docs/design.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_tests_mirror_the_rooms(path):
    assert list((REPOSITORY / "tests" / path.parent.name).glob("test_*.py"))


def test_files_are_short_enough_to_read():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path
