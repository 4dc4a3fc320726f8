"""seqmend models, seqmend data: what is known by name, and what is here."""

from typing import Annotated

import typer
from rich.table import Table

from seqmend.cli.app import app
from seqmend.cli.console import out_console, showing

models = typer.Typer(help="Language models and sentence encoders: what is known, what is here.")
data = typer.Typer(help="Corpora: what is known, what is here.")
app.add_typer(models, name="models")
app.add_typer(data, name="data")


def _asset_commands(group: typer.Typer, kinds: tuple[str, ...]) -> None:
    @group.callback(invoke_without_command=True)
    def overview(context: typer.Context) -> None:  # pyright: ignore[reportUnusedFunction]
        if context.invoked_subcommand is None:
            _list_assets(kinds)

    @group.command("list")
    def list_() -> None:  # pyright: ignore[reportUnusedFunction]
        """What is known, and what lies here."""
        _list_assets(kinds)

    @group.command("fetch")
    def fetch(name: Annotated[str, typer.Argument()]) -> None:  # pyright: ignore[reportUnusedFunction]
        """Fetch by name; the terms are shown."""
        from seqmend import assets

        with showing() as progress:
            folder = assets.fetch(name, progress)
        _show_terms(name)
        out_console.print(f"{name} lies in {folder}", highlight=False, markup=False)

    @group.command("remove")
    def remove(name: Annotated[str, typer.Argument()]) -> None:  # pyright: ignore[reportUnusedFunction]
        """Remove from the cache."""
        from seqmend import assets

        removed = assets.remove(name)
        out_console.print(f"removed {name}" if removed else f"{name} was not here", markup=False)


_asset_commands(models, ("model", "encoder"))
_asset_commands(data, ("corpus",))


def _list_assets(kinds: tuple[str, ...]) -> None:
    from seqmend import assets

    table = Table(box=None, header_style="bold", padding=(0, 2))
    for column in ("name", "kind", "size", "licence", "here"):
        table.add_column(column, overflow="fold")
    for entry in assets.listing():
        if entry.kind in kinds:
            table.add_row(
                entry.name,
                entry.kind,
                f"{entry.download_bytes / 1e6:,.0f} MB",
                entry.licence,
                str(entry.location) if entry.state == "cached" else entry.state,
            )
    out_console.print(table)


def _show_terms(name: str) -> None:
    from seqmend import assets

    entry = next(entry for entry in assets.listing() if entry.name == name)
    out_console.print(f"Terms of {name}: {entry.terms}", highlight=False, markup=False)
