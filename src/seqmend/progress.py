"""How long work tells where it is, without knowing who shows it."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is (0 = unknown)."""


def silent(what: str, done: int, total: int) -> None:
    """Show nothing."""
