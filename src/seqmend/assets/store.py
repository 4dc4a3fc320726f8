"""The cache of fetched assets: whole folders or nothing."""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seqmend.assets.known import Kind, KnownAsset, catalogue, known
from seqmend.assets.sources import SourceFailed, collect, describe
from seqmend.errors import InputError, ResourceError
from seqmend.files import cache_folder
from seqmend.progress import Progress, silent

DEFAULT_ORDER = ("package-index", "hub", "publisher")


class Unreachable(ResourceError):
    """What was asked for is not in the cache and none of its sources can be reached (exit code 2)."""

    exit_code = 2


@dataclass(frozen=True)
class Asset:
    """A known asset as it stands on this machine.

    Attributes:
        name: What it is asked for by.
        kind: `model`, `encoder` or `corpus`.
        description: What it is.
        licence: Short name of its licence.
        terms: What whoever fetches it agrees to.
        download_bytes: Size of its files.
        state: `cached`, `absent`, or `damaged` (files are missing or have another size).
        location: Folder that it lies in, or would.
        cached_bytes: Size of the folder, files derived by SeqMend included.
        source: Where the cached files came from; None if absent.
    """

    name: str
    kind: Kind
    description: str
    licence: str
    terms: str
    download_bytes: int
    state: Literal["cached", "absent", "damaged"]
    location: Path
    cached_bytes: int
    source: str | None


def resolve(name_or_path: str, kind: Kind, progress: Progress = silent) -> Path:
    """The local folder of a named asset, fetched if it is not there yet, or of a path, as it is.

    Raises:
        InputError: Neither an asset nor a folder has the name.
        ResourceError: The asset cannot be fetched (see `fetch`).
    """
    if name_or_path not in catalogue():
        path = Path(name_or_path).expanduser()
        if path.is_dir():
            return path.resolve()
        if path.exists():
            raise InputError(f"this is not a folder, as a {kind} must be", where=str(path))
    return fetch(name_or_path, progress, kind=kind)


def fetch(
    name: str, progress: Progress = silent, *, kind: Kind | None = None, order: Sequence[str] | None = None
) -> Path:
    """Fetch an asset unless it is cached whole, and return its folder.

    Args:
        name: A known asset.
        progress: Told the licence and terms first, then how far the download is.
        kind: What the asset must be; None = anything.
        order: Kinds of sources in the order to be tried, those left out are not; default `$SEQMEND_SOURCES` (comma
            separated), else `package-index, hub, publisher`.

    Raises:
        InputError: The name or a kind of source is unknown, or the cache cannot be written.
        Unreachable: It is not cached, and no source can be reached.
        ResourceError: What the sources gave is not the asset, or the disk is full.
    """
    asset = known(name, kind)
    folder = cache_folder() / name
    if _state(asset, folder) == "cached":
        return folder
    progress(f"{name}: {asset.licence} licence. Terms: {asset.terms}", 0, 0)
    failures: list[tuple[str, SourceFailed]] = []
    for wanted in _order(order):
        for source in asset.sources:
            if source.kind != wanted:
                continue
            try:
                with _workshop(folder) as workshop:
                    collect(asset, source, workshop, progress)
                    _install(asset, describe(source), workshop, folder)
                return folder
            except SourceFailed as failure:
                failures.append((describe(source), failure))
    tried = "".join(f"\n    {where}: {failure}" for where, failure in failures) or " none"
    if any(failure.reached for _, failure in failures):
        raise ResourceError(f"{name} could not be fetched; tried{tried}", fix="try again, or choose another source")
    raise Unreachable(
        f"{name} is not on this machine and none of its sources can be reached; tried{tried}",
        expected=f"its files in {folder}, or a connection",
        fix="go online once, or name the folder of a copy instead",
    )


def remove(name: str) -> int:
    """Remove an asset from the cache; returns the bytes freed (0 if it was absent)."""
    asset = known(name)
    folder = cache_folder() / asset.name
    size = _size(folder)
    if folder.is_dir():
        with _disk_errors(folder):
            doomed = folder.with_name(f".{name}.{os.getpid()}.removed")
            folder.rename(doomed)  # at once, so that nobody meets half of it
            shutil.rmtree(doomed)
    return size


def listing(kind: Kind | None = None) -> list[Asset]:
    """All known assets (of a kind) as they stand on this machine."""
    found: list[Asset] = []
    for asset in catalogue().values():
        if kind in (None, asset.kind):
            folder = cache_folder() / asset.name
            found.append(
                Asset(
                    asset.name, asset.kind, asset.description, asset.licence, asset.terms, asset.bytes,
                    _state(asset, folder), folder, _size(folder), _note(folder).get("source"),
                )
            )  # fmt: skip
    return found


def _order(order: Sequence[str] | None) -> list[str]:
    if order is None:
        named = os.environ.get("SEQMEND_SOURCES")
        order = [kind.strip() for kind in named.split(",")] if named else DEFAULT_ORDER
    for kind in order:
        if kind not in DEFAULT_ORDER:
            raise InputError(f"unknown kind of source {kind!r}", expected=", ".join(DEFAULT_ORDER))
    return list(order)


def _state(asset: KnownAsset, folder: Path) -> Literal["cached", "absent", "damaged"]:
    if not folder.is_dir():
        return "absent"
    whole = all(
        (folder / name).is_file() and (folder / name).stat().st_size == file.bytes for name, file in asset.files.items()
    )
    same = _note(folder).get("files") == {name: file.sha256 for name, file in asset.files.items()}
    return "cached" if whole and same else "damaged"


def _note(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "asset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _install(asset: KnownAsset, source: str, workshop: Path, folder: Path) -> None:
    """Put a finished folder in its place at once; another process that was quicker keeps the place."""
    note = {
        "name": asset.name, "licence": asset.licence, "terms": asset.terms, "origin": asset.origin, "source": source,
        "files": {name: file.sha256 for name, file in asset.files.items()},
    }  # fmt: skip
    (workshop / "asset.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    if _state(asset, folder) == "damaged":
        shutil.rmtree(folder)
    try:
        workshop.rename(folder)
    except OSError:
        if _state(asset, folder) != "cached":
            raise


@contextlib.contextmanager
def _workshop(folder: Path) -> Generator[Path]:
    """A temporary folder beside `folder` that is gone at the end, with those that killed processes left behind."""
    with _disk_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for old in folder.parent.glob(f".{folder.name}.*.fetch"):
            owner = re.search(r"\.(\d+)-[0-9a-f]+\.fetch$", old.name)
            if owner and not _is_running(int(owner[1])):
                shutil.rmtree(old, ignore_errors=True)
        workshop = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.fetch")
        workshop.mkdir()
        try:
            yield workshop
        finally:
            shutil.rmtree(workshop, ignore_errors=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def _disk_errors(where: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise ResourceError(
                f"cannot write the cache: {error.strerror}", where=str(where), fix="free some space"
            ) from error
        raise InputError(
            f"cannot write the cache: {error.strerror}",
            where=str(where),
            fix="set SEQMEND_CACHE to a folder that you may write to",
        ) from error


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
