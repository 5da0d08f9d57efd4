"""Files that are written whole or not at all, and places that are known to be writable."""

import contextlib
import uuid
from pathlib import Path


def writable(path: str | Path) -> Path:
    """The path, `~` expanded, if a file can be written there: ask before a long computation.

    What is there already stays as it is. Raises OSError, with what to do, if it cannot be written.
    """
    try:
        path = Path(path).expanduser()
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        probe = _beside(path)
        probe.touch()
        probe.unlink()
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"cannot write {path} ({reason}): name a file in a folder that exists and is yours"
        ) from error
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, or replace it; under its name there is never only a part of the content."""
    temporary = _beside(path)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):  # once it has replaced the file, it is gone
            temporary.unlink()


def _beside(path: Path) -> Path:
    """A name that nothing else uses, in the same folder."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}")
