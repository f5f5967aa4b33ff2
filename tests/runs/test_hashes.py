import shutil
import subprocess

import pytest

from digitjax.runs import hashes

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2, appendix B.1


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.bin").write_bytes(b"abc")
    (tmp_path / "c.txt").write_bytes(b"two lines\nof text\n")
    (tmp_path / ".hidden").write_bytes(b"of the system")
    hashes.write_sums(tmp_path)
    return tmp_path


def test_the_file_is_sha256sums_own(folder):
    assert f"{ABC}  a/b.bin" in (folder / "SHA256SUMS").read_text().splitlines()
    if program := shutil.which("sha256sum"):
        subprocess.run([program, "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True)


def test_what_is_whole_has_no_damage(folder):
    assert hashes.find_damage(folder) is None
    (folder / ".hidden").write_bytes(b"changed")
    assert hashes.find_damage(folder) is None


@pytest.mark.parametrize("name", ["a/b.bin", "c.txt"])
def test_every_byte_counts(folder, name):
    whole = (folder / name).read_bytes()
    for i in range(len(whole)):
        for bit in (1, 128):
            (folder / name).write_bytes(whole[:i] + bytes([whole[i] ^ bit]) + whole[i + 1 :])
            assert hashes.find_damage(folder).startswith(f"{folder / name}: is damaged")
        (folder / name).write_bytes(whole[:i])
        assert hashes.find_damage(folder).startswith(f"{folder / name}: is damaged")
    (folder / name).unlink()
    assert hashes.find_damage(folder) == f"{folder / name}: is missing"


def test_every_byte_of_the_list_counts(folder):
    path = folder / "SHA256SUMS"
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert str(folder) in hashes.find_damage(folder)
    path.write_bytes(b"\xff\xfe")
    assert hashes.find_damage(folder) == f"{path}: can't be read (not text)"
    path.unlink()
    assert hashes.find_damage(folder) == f"{path}: can't be read (No such file or directory)"


def test_strange_files_are_named_and_other_folders_never_opened(folder):
    (folder / "new").write_bytes(b"")
    assert hashes.find_damage(folder) == f"{folder / 'new'}: isn't listed in SHA256SUMS"
    (folder / "new").unlink()
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{ABC}  ../../../../dev/zero\n")  # whoever opened it would read for ever
    assert hashes.find_damage(folder).endswith("zero: is missing")


def test_only_what_is_named_is_hashed(folder):
    hashes.write_sums(folder, ("a", "d"))
    (folder / "c.txt").unlink()
    assert hashes.find_damage(folder, ("a", "d")) is None
    (folder / "d").write_bytes(b"")
    assert "isn't listed in" in hashes.find_damage(folder, ("a", "d"))
