"""The publisher's MovieLens 100K archive as RecBole files, byte for byte what RecBole itself ships."""

import re
import zipfile
from pathlib import Path

_INTERACTIONS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
_ITEMS = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
_MAX_BYTES = 10_000_000

_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


def convert(archive: Path) -> dict[str, bytes]:
    """`interactions.inter` and `items.item`, made of the archive's `u.data` and `u.item`.

    RecBole's peculiarities are kept, so that one checksum fits both sources: what stands in the title's last brackets
    is the year, whatever it is, and the one film without a title is called "unkonwn".

    Raises:
        KeyError: A member is missing.
        ValueError: A member is too large or not what it should be.
        zipfile.BadZipFile: The archive is damaged.
    """
    with zipfile.ZipFile(archive) as members:
        ratings = _read(members, "ml-100k/u.data").decode("ascii")
        films = _read(members, "ml-100k/u.item").decode("latin-1")
    items = [_film(line) for line in films.splitlines() if line]
    return {
        "interactions.inter": (_INTERACTIONS + ratings).encode(),
        "items.item": (_ITEMS + "".join(items)).encode(),
    }


def _film(line: str) -> str:
    number, title, *rest = line.split("|")
    genres = " ".join(genre for genre, flag in zip(_GENRES, rest[-len(_GENRES) :], strict=True) if flag == "1")
    parts = re.fullmatch(r"(.*) \(([^()]*)\) *", title)
    name, year = parts.groups() if parts else ("unkonwn", "unkonwn")
    return f"{number}\t{name}\t{year}\t{genres}\n"


def _read(members: zipfile.ZipFile, name: str) -> bytes:
    if members.getinfo(name).file_size > _MAX_BYTES:
        raise ValueError(f"{name} is too large")
    return members.read(name)
