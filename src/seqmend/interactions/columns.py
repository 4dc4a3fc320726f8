"""Which column of a file holds what: by the name the user gives, else by a documented list of aliases."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from seqmend.errors import InputError

Role = Literal["user_id", "item_id", "timestamp", "rating", "title"]

ALIASES: dict[Role, tuple[str, ...]] = {
    "user_id": (
        *("user", "uid", "user_name", "customer_id", "customer", "visitor_id", "reviewer_id", "member_id", "client_id"),
        *("account_id", "buyer_id", "subscriber_id", "session_id", "session", "query_id"),
    ),
    "item_id": (
        *("item", "iid", "product_id", "product", "sku", "asin", "parent_asin", "article_id", "movie_id", "movie"),
        *("book_id", "isbn", "track_id", "song_id", "artist_id", "album_id", "video_id", "game_id", "app_id"),
        *("news_id", "content_id", "listing_id", "business_id", "venue_id", "poi_id", "recipe_id", "anime_id"),
    ),
    "timestamp": (
        *("time", "ts", "datetime", "date", "unix_time", "unix_timestamp", "unix_review_time", "epoch", "event_time"),
        *("event_timestamp", "event_date", "created_at", "created", "rated_at", "played_at", "watched_at"),
        *("purchased_at", "purchase_date", "order_date", "t_dat"),
    ),
    "rating": ("stars", "score", "overall", "user_rating"),
    "title": (
        *("name", "item_title", "item_name", "product_title", "product_name", "prod_name", "movie_title", "movie_name"),
        *("book_title", "track_name", "track_title", "song_title", "artist_name", "album_title", "video_title"),
        *("game_title", "app_name", "article_title", "news_title", "business_name", "recipe_name", "anime_name"),
    ),
}
"""Other names of a column, compared without case and separators: `User ID`, `userId` and `user_id:token` are one name.

A column with the role's own name (`user_id`, ...) is taken before any alias; two that match equally well are refused.
"""

_OPTIONS: dict[Role, tuple[str, str]] = {
    "user_id": ("the user ids", "--user-column"),
    "item_id": ("the item ids", "--item-column"),
    "timestamp": ("the times", "--time-column"),
    "rating": ("the ratings", "--rating-column"),
    "title": ("the titles", "--title-column"),
}
_RECBOLE_TYPE = re.compile(r":(?:token|token_seq|float|float_seq)$")


@dataclass(frozen=True)
class ColumnNames:
    """The user's own names of the columns; None where the aliases decide (see `ALIASES`)."""

    user_id: str | None = None
    item_id: str | None = None
    timestamp: str | None = None
    rating: str | None = None
    title: str | None = None


BY_ALIAS = ColumnNames()


def find_column(role: Role, found: Sequence[str], names: ColumnNames, where: Path) -> str | None:
    """The column that holds a role; None where the user named none and no alias matches.

    Args:
        role: What the column should hold.
        found: Columns of the file.
        names: What the user calls them.
        where: The file, for messages.

    Raises:
        InputError: The named column is absent, or several columns match.
    """
    what, option = _OPTIONS[role]
    wanted = getattr(names, role)
    if wanted is not None:
        matches = [name for name in found if name == wanted] or [name for name in found if _untyped(name) == wanted]
        if not matches:
            near = difflib.get_close_matches(wanted, found, n=1, cutoff=0.5)
            raise InputError(
                f"there is no column {wanted!r} for {what}",
                where=f"{where}, with the columns {listed(found)}",
                fix=f"name another one with {option}" + (f", for instance {near[0]!r}" if near else ""),
            )
    else:
        aliases = {_plain(alias) for alias in ALIASES[role]}
        own = [name for name in found if _plain(name) == _plain(role)]
        matches = own or [name for name in found if _plain(name) in aliases]
    if len(matches) > 1:
        raise InputError(
            f"{len(matches)} columns could hold {what}: {listed(matches)}",
            where=str(where),
            expected="one column",
            fix=f"name the right one with {option}",
        )
    return matches[0] if matches else None


def require_column(role: Role, found: Sequence[str], names: ColumnNames, where: Path, otherwise: str = "") -> str:
    """The column that holds a role.

    Args:
        role: What the column should hold.
        found: Columns of the file.
        names: What the user calls them.
        where: The file, for messages.
        otherwise: What else the user can do where there is none, as the end of a sentence.

    Raises:
        InputError: No column matches, or several do.
    """
    column = find_column(role, found, names, where)
    if column is not None:
        return column
    what, option = _OPTIONS[role]
    if not any(character.isalpha() for name in found for character in name):
        fix = f"the first line looks like data: put a line with names above it, such as {', '.join(get_args(Role)[:3])}"
    else:
        aliases = {_plain(alias): alias for alias in (role, *ALIASES[role])}
        free = [name for name in found if not _is_another(name, role, names)]
        near = [name for name in free if difflib.get_close_matches(_plain(name), list(aliases), n=1, cutoff=0.7)]
        fix = f"name it with {option}" + (f", for instance {option} {near[0]!r}" if near else "")
    raise InputError(
        f"no column holds {what}",
        where=f"{where}, with the columns {listed(found)}",
        expected=f"a column named {role}, or one of its aliases ({', '.join(ALIASES[role][:6])}, ...)",
        fix=fix + otherwise,
    )


def _is_another(name: str, role: Role, names: ColumnNames) -> bool:
    """Whether a column goes by a name, given or known, of another role."""
    others = [other for other in get_args(Role) if other != role]
    return any(name == getattr(names, other) or _plain(name) in map(_plain, ALIASES[other]) for other in others)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names as a line of quoted, shortened text."""
    quoted = [repr(name if len(name) <= 40 else name[:39] + "…") for name in names[:most]]
    return ", ".join(quoted) + (f" and {len(names) - most} more" if len(names) > most else "")


def _untyped(name: str) -> str:
    return _RECBOLE_TYPE.sub("", name.strip())


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", _untyped(name)).casefold()
