"""How the tables of the studies are laid out, and how their figures are written."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

_WIDE = 6

STAR = "* its 95 % interval excludes 0"


def study_table(title: str, figures: dict[str, Any], names: Sequence[str], columns: Sequence[str]) -> Table:
    """An empty table that says what was studied.

    Args:
        title: What the table shows.
        figures: Of the study.
        names: Headings of what tells one row from another.
        columns: Headings of figures.
    """
    noise = figures.get("noise")
    about = f", {noise['ratio']:.0%} {noise['kind']} noise" if noise else ""
    table = Table(
        title=f"{title} on {figures['corpus']}: {figures['users']:,} users, {figures['interactions']:,} "
        f"interactions{about}",
        title_justify="left",
        box=None,
        header_style="bold",
        padding=(0, 1, 0, 0 if len(columns) > _WIDE else 1),  # a wide one just fits a usual terminal
    )
    for column in names:
        table.add_column(column, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")  # rather two lines than half a number
    return table


def spread(figure: dict[str, Any], decimals: int = 3) -> str:
    """A mean over seeds and how far its interval reaches to either side, where it has one."""
    if figure["mean"] is None:
        return ""
    reach = figure["ci95"][1] - figure["mean"] if figure["ci95"] else 0.0
    return f"{figure['mean']:.{decimals}f}" + (f" ±{reach:.{decimals}f}" if reach else "")


def gap(found: dict[str, Any], decimals: int = 3) -> str:
    """A difference with its interval."""
    if found["difference"] is None:
        return ""
    low, high = found["ci95"]
    return f"{found['difference']:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]"


def starred(found: dict[str, Any], decimals: int = 4) -> str:
    """A difference in few characters; see `STAR`."""
    if found["difference"] is None:
        return ""
    low, high = found["ci95"]
    said = f"{found['difference']:+.{decimals}f}".replace("0.", ".", 1)
    return said if low <= 0 <= high else f"{said}*"


def recovered(share: dict[str, Any] | None) -> str:
    """A recovered share with its interval; nothing where there was nothing to regain."""
    if share is None or share["value"] is None:
        return ""
    return f"{share['value']:.2f} [{share['ci95'][0]:.2f}, {share['ci95'][1]:.2f}]"


def repetitions(figures: dict[str, Any]) -> str:
    """How often a study was repeated, and what its intervals are."""
    n = len(figures["seeds"])
    return f"{n} seed(s): {'one repetition, so no interval over noise' if n == 1 else '95 % intervals'}"
