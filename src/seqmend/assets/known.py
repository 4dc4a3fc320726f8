"""What is known by name: models, encoders and corpora, and where each may come from."""

import difflib
import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from seqmend.errors import InputError

Kind = Literal["model", "encoder", "corpus"]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AssetFile(_Entry):
    """One file of an asset: its size in bytes and its SHA-256 in hexadecimal digits."""

    bytes: int
    sha256: str


class WheelSource(_Entry):
    """Wheels of the package index, and the members that each file is joined from."""

    kind: Literal["package-index"]
    wheels: tuple[str, ...]
    members: dict[str, tuple[str, ...]]


class HubSource(_Entry):
    """A model hub's repository that holds the files under their own names."""

    kind: Literal["hub"]
    repository: str
    revision: str


class PublisherSource(_Entry):
    """An archive at a URL, and the converter that makes the files of it."""

    kind: Literal["publisher"]
    url: str
    max_bytes: int
    converter: Literal["movielens-100k"]


Source = Annotated[WheelSource | HubSource | PublisherSource, Field(discriminator="kind")]


class KnownAsset(_Entry):
    """A model, encoder or corpus that can be asked for by name."""

    name: str
    kind: Kind
    description: str
    licence: str
    terms: str
    origin: str
    files: dict[str, AssetFile]
    sources: tuple[Source, ...]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files.values())


@cache
def catalogue() -> dict[str, KnownAsset]:
    """All known assets by name."""
    text = resources.files("seqmend.assets").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: KnownAsset(name=name, **entry) for name, entry in tomllib.loads(text).items()}


def known(name: str, kind: Kind | None = None) -> KnownAsset:
    """The asset of that name.

    Raises:
        InputError: No asset (of that kind) has the name; near matches are named.
    """
    assets = {key: asset for key, asset in catalogue().items() if kind in (None, asset.kind)}
    if name in assets:
        return assets[name]
    near = difflib.get_close_matches(name, assets, n=3, cutoff=0.5)
    raise InputError(
        f"no {kind or 'asset'} is called {name!r}, and no folder of that name exists",
        expected=f"one of {', '.join(sorted(assets))}, or the path of a folder",
        fix=f"did you mean {' or '.join(near)}?" if near else None,
    )
