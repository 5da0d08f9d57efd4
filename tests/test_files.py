import pathlib

import pytest

from lenet_utils import files


@pytest.fixture
def old(tmp_path):
    """A file that is there already."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["file", "new"])
def test_asking_expands_the_home_folder_and_changes_nothing(monkeypatch, old, name):
    monkeypatch.setattr(pathlib.Path, "expanduser", lambda path: old.with_name(path.name))
    assert files.writable(f"~/{name}") == old.with_name(name)
    assert content(old.parent) == {"file": b"old"}


@pytest.mark.parametrize(
    "place, reason", [(".", "it is a folder"), ("missing/new", ""), ("file/new", "")]
)
def test_a_place_where_no_file_can_be(old, place, reason):
    path = old.parent / place
    with pytest.raises(OSError) as error:
        files.writable(str(path))
    assert str(error.value).startswith(f"cannot write {path} ({reason}")
    assert "name a file in a folder that exists and is yours" in str(error.value)
    assert content(old.parent) == {"file": b"old"}


def test_a_folder_that_is_read_only(monkeypatch, old):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "touch", refuse)  # root may write everywhere
    with pytest.raises(OSError, match=r"cannot write .*file \(Permission denied\): name a file"):
        files.writable(old)


@pytest.mark.parametrize("name", ["file", "new"])
def test_a_file_is_written_or_replaced(old, name):
    files.write_whole(old.with_name(name), b"new")
    assert content(old.parent) == {"file": b"old"} | {name: b"new"}


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(monkeypatch, old, step):
    def fail(path, *arguments):
        path.touch()
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, step, fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_whole(old, b"new")
    monkeypatch.undo()
    assert content(old.parent) == {"file": b"old"}
