"""The three ways in which work stops, each with what is wrong, where, what was expected and what to do."""


class SeqMendError(Exception):
    """Base of all errors that a user is meant to read.

    Args:
        what: What is wrong, in one sentence without a full stop.
        where: File, row, column or value that it was found at.
        expected: What would have been right.
        fix: What to do now.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, where: str | None = None, expected: str | None = None, fix: str | None = None
    ) -> None:
        self.what, self.where, self.expected, self.fix = what, where, expected, fix
        lines = [what]
        lines += [f"  {label}: {text}" for label, text in (("at", where), ("expected", expected), ("do", fix)) if text]
        super().__init__("\n".join(lines))


class InputError(SeqMendError):
    """The user's data or options are wrong; nothing was written (exit code 2)."""

    exit_code = 2


class ResourceError(SeqMendError):
    """A model, corpus, disk or server is missing or failing (exit code 1)."""


class BudgetExceeded(SeqMendError):
    """The language-model budget of calls, tokens or seconds is spent (exit code 1)."""
