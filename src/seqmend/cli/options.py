"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
