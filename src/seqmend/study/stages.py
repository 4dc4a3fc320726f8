"""Stages: work whose result is kept in the run directory under a fingerprint of everything that decides it."""

import hashlib
import importlib.metadata
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from seqmend import __version__
from seqmend.errors import InputError
from seqmend.files import write_json

T = TypeVar("T")
_LIBRARIES = ("torch", "transformers", "polars", "numpy", "scikit-learn", "scipy")


def fingerprint(*parts: Any) -> str:
    """Digest of plain values (anything JSON can say, paths and tuples included)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


class RunDirectory:
    """A run's folder with its manifest, which is written after every stage, so that a killed run resumes.

    Args:
        path: The folder; made where it does not exist.

    Raises:
        InputError: The folder holds something else than a run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._manifest_path = path / "manifest.json"
        if path.is_file():
            raise InputError("the output is a file", where=str(path), expected="a folder", fix="name another --out")
        known = self._manifest_path.exists()
        if path.is_dir() and not known and any(child.name[0] != "." for child in path.iterdir()):
            raise InputError(
                "the output folder holds something else than a run",
                where=str(path),
                expected="a new or empty folder, or an earlier run",
                fix="name another --out",
            )
        self.manifest: dict[str, Any] = json.loads(self._manifest_path.read_text("utf-8")) if known else {}
        self._earlier = {stage["name"]: stage for stage in self.manifest.get("stages", [])}
        self.manifest["stages"] = []

    def begin(self, inputs: dict[str, Any], seeds: tuple[int, ...], device: dict[str, Any]) -> None:
        """Record what the run works on, before anything is computed.

        Raises:
            InputError: The folder belongs to a run on other data.
        """
        earlier = self.manifest.get("inputs")
        if earlier is not None and earlier.get("data_id") != inputs["data_id"]:
            raise InputError(
                "the output folder belongs to a run on other data",
                where=str(self.path),
                expected=f"data {earlier.get('data_id', '')[:12]}, not {inputs['data_id'][:12]}",
                fix="name another --out, or remove the folder",
            )
        versions = {"seqmend": __version__, "python": platform.python_version()}
        versions |= {name: importlib.metadata.version(name) for name in _LIBRARIES}
        self.manifest |= {"versions": versions, "seeds": list(seeds), "inputs": inputs, "device": device}
        # A stage that is not reached again (the run is killed first) is still there for the next attempt.
        self._save({**self.manifest, "stages": list(self._earlier.values())})

    def has(self, name: str, key: str, files: list[str]) -> bool:
        """Whether the files of a stage are there under this key."""
        earlier = self._earlier.get(name)
        return earlier is not None and earlier["fingerprint"] == key and all((self.path / f).exists() for f in files)

    def stage(
        self, name: str, key: str, files: list[str], make: Callable[[], float | None], load: Callable[[], T]
    ) -> T:
        """The result of a stage: made, unless its files are there under the same key.

        Args:
            name: Unique in the run.
            key: Fingerprint of everything that decides the result.
            files: What `make` writes, relative to the run directory.
            make: Writes the files (atomically); may return the seconds that it took, where that is not the time waited.
            load: Reads them.
        """
        reused = self.has(name, key, files)
        begin = time.perf_counter()
        took = None if reused else make()
        waited = time.perf_counter() - begin
        seconds = self._earlier[name]["seconds"] if reused else round(waited if took is None else took, 3)
        record = {"name": name, "fingerprint": key, "seconds": seconds, "reused": reused, "files": files}
        self.manifest["stages"].append(record)
        done = {stage["name"] for stage in self.manifest["stages"]}
        pending = [stage for stage in self._earlier.values() if stage["name"] not in done]
        self._save({**self.manifest, "stages": self.manifest["stages"] + pending})
        return load()

    def finish(self, extra: dict[str, Any]) -> None:
        """Record what is only known at the end."""
        scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20
        self.manifest |= {"peak_memory_mib": round(peak, 1), **extra}
        self._save(self.manifest)

    def _save(self, manifest: dict[str, Any]) -> None:
        write_json(self._manifest_path, manifest)
