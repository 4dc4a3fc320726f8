"""Options that several commands share, and what they make of a configuration."""

import functools
import inspect
import tomllib
from collections.abc import Callable, Iterable
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seqmend.errors import InputError

Interactions = Annotated[Path, typer.Argument(help="The log: CSV, TSV, Parquet, JSON lines or RecBole .inter.")]
Items = Annotated[Path | None, typer.Option("--items", help="Items with titles, in any of these formats.")]
UserColumn = Annotated[str | None, typer.Option("--user-column")]
ItemColumn = Annotated[str | None, typer.Option("--item-column")]
TimeColumn = Annotated[str | None, typer.Option("--time-column")]
RatingColumn = Annotated[str | None, typer.Option("--rating-column")]
TitleColumn = Annotated[str | None, typer.Option("--title-column")]
Delimiter = Annotated[str | None, typer.Option("--delimiter", help="Of delimited text; detected otherwise.")]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Of delimited text; detected otherwise.")]
Order = Annotated[str, typer.Option("--order", help='"file": the rows are in the order of time.')]
KeepRepeats = Annotated[bool, typer.Option("--keep-repeats", help="Keep exact repeats of user, item and time.")]

Config = Annotated[Path | None, typer.Argument(help="A TOML configuration; flags override it.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML configuration; options override it.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, such as training.loss=gbce; may be repeated."),
]
Model = Annotated[str | None, typer.Option("--model", help='Language model: a name, a folder, or "none".')]
Threshold = Annotated[float | None, typer.Option("--threshold", help="Least confidence of an edit.")]

# Of the measurements on LLM4DSR's released windows.
ReleasedFolder = Annotated[Path, typer.Argument(help="A folder laid out like llm4dsr-toy.")]
LearnedFrom = Annotated[
    Literal["small", "full"],
    typer.Option("--train", help='"small" (train_5000) or "full" (users without a test row).'),
]
TestWindows = Annotated[int | None, typer.Option("--windows", min=1, help="Judge a random part of the test windows.")]
JournalFile = Annotated[Path, typer.Option("--journal", help="Where answers are kept, so that nothing is asked twice.")]
JOURNAL = Path("runs/bench/journal.sqlite")

_DATA: dict[str, Any] = {
    "interactions": Annotated[Path | None, typer.Option("--interactions", help="The log.")],
    "corpus": Annotated[str | None, typer.Option("--corpus", help="A known corpus (see seqmend data), not files.")],
    "items": Items,
    "user_column": UserColumn,
    "item_column": ItemColumn,
    "time_column": TimeColumn,
    "rating_column": RatingColumn,
    "title_column": TitleColumn,
    "delimiter": Delimiter,
    "encoding": Encoding,
    "order": Annotated[str | None, typer.Option("--order", help='"file": the rows are in the order of time.')],
    "keep_repeats": Annotated[bool | None, typer.Option("--keep-repeats/--drop-repeats")],
}


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a log; it takes the given ones as `data`, by name."""
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _DATA.items()
    ]

    def given(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None}

    return with_options(command, "data", options, given)


def with_options(
    command: Callable[..., None], parameter: str, options: Iterable[Parameter], gather: Callable[[dict[str, Any]], Any]
) -> Callable[..., None]:
    """Give a command more options than it names.

    Args:
        command: It takes all of them as one argument.
        parameter: Name of this argument.
        options: What is added, keyword only.
        gather: Makes the argument of the options' values.
    """
    shared = list(options)

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        values = {option.name: given.pop(option.name) for option in shared}
        command(**given, **{parameter: gather(values)})

    own = inspect.signature(command)
    kept = [option.replace(kind=Parameter.KEYWORD_ONLY) for name, option in own.parameters.items() if name != parameter]
    wrapped.__signature__ = own.replace(parameters=[*kept, *shared])  # type: ignore[attr-defined]
    return wrapped


def configured(
    config: Path | None,
    data: dict[str, Any],
    settings: list[str] | None,
    *,
    model: str | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Plain values of a configuration, with what the options say in their place.

    Args:
        config: TOML file.
        data: Settings of the section of this name.
        settings: KEY=VALUE, the key with its sections.
        model: Language model.
        threshold: Least confidence of an edit.

    Raises:
        InputError: The file cannot be used, a setting sets nothing, or no data are named.
    """
    from seqmend.study import RunConfig

    named = {"data": data} if data else {}
    values: dict[str, Any] = {}
    if config is not None:
        values = RunConfig.read(config, **named).model_dump(mode="json", exclude_unset=True)
    given = {"data": data, "language": {"model": model}, "denoise": {"threshold": threshold}}
    for section, options in given.items():
        if override := {key: value for key, value in options.items() if value is not None}:
            values[section] = {**values.get(section, {}), **override}
    for setting in settings or ():
        key, is_set, text = setting.partition("=")
        if not is_set:
            raise InputError(f"--set {setting} sets nothing", expected="KEY=VALUE, such as training.loss=gbce")
        section = values
        *parents, last = key.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise InputError(f"--set {setting}: {parent} is a value and has no settings of its own")
        section[last] = _value(text)
    if not values.get("data"):
        raise InputError("no data", fix="give a configuration file, --interactions FILE or --corpus NAME")
    return values


def _value(text: str) -> Any:
    """As TOML would read it, or the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
