"""The application, and how it ends: every error that a user may meet is one message and an exit code."""

import sys
from typing import NoReturn

import typer
from rich.markup import escape

from seqmend.allocator import arrange_allocator
from seqmend.cli.console import err_console
from seqmend.errors import SeqMendError

app = typer.Typer(
    help="Mend the interaction sequences that sequential recommenders learn from, and prove whether it helped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; every error that a user may meet is one message and an exit code."""
    arrange_allocator()
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        if app(arguments, standalone_mode=False) == _INTERRUPTED:  # Typer turns Ctrl-C into this result
            _interrupted()
    except SeqMendError as error:
        if debug:
            raise
        _complain(escape(str(error)))
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _interrupted()
    except Exception as error:
        if wrong_use := getattr(error, "format_message", None):  # of the command line, by Typer
            _complain(escape(wrong_use().replace(": Value error, ", ": ")))
            sys.exit(2)
        if debug:
            raise
        _complain(
            f"{escape(type(error).__name__)}: {escape(str(error))}\n"
            "  do: this is a defect of SeqMend; run again with --debug and report what it prints"
        )
        sys.exit(1)


def _complain(message: str) -> None:
    err_console.print(f"[bold red]Error:[/] {message}", highlight=False, soft_wrap=True)  # lines can be searched for


def _interrupted() -> NoReturn:
    command = " ".join(["seqmend", *sys.argv[1:]])
    err_console.print(
        f"\nStopped. Nothing is lost: the same command goes on where this one stopped.\n  {escape(command)}"
    )
    sys.exit(_INTERRUPTED)
