"""Writing files so that a reader, or a killed run, never meets half of one."""

import contextlib
import errno
import json
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import platformdirs

from seqmend.errors import InputError, ResourceError


@contextlib.contextmanager
def write_atomic(path: Path) -> Generator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Raises:
        InputError: The folder cannot be made or written to.
        ResourceError: The disk is full or failing.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except Exception as error:
        code = _system_code(error)
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise ResourceError(
                f"cannot finish writing: {os.strerror(code)}", where=str(path), fix="free some space and run again"
            ) from error
        if code in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise InputError(
                f"cannot write here: {os.strerror(code)}", where=str(path), fix="name a folder that you may write to"
            ) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically; NaN is refused."""
    with write_atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def cache_folder() -> Path:
    """Where assets and what was found out about the machine lie: `$SEQMEND_CACHE`, else the user's cache directory."""
    named = os.environ.get("SEQMEND_CACHE")
    return Path(named).expanduser() if named else platformdirs.user_cache_path("seqmend")


def _system_code(error: Exception) -> int | None:
    """The system's error number; writers in Rust give it in the text only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = re.search(r"\(os error (\d+)\)", str(error))
    return int(said[1]) if said else None


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
