"""seqmend bench augment, augment-ablation, augment-sweep: what pseudo-prior items bring to whom, beside controls."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from seqmend.cli.bench import bench
from seqmend.cli.console import out_console
from seqmend.cli.options import Model, configured
from seqmend.cli.study_options import KeptStudy, names, numbers, study_options
from seqmend.cli.study_tables import STAR, starred, study_table
from seqmend.errors import InputError

if TYPE_CHECKING:
    from seqmend.study import RunConfig

_Folder = Annotated[
    str, typer.Argument(help="A folder with interactions.parquet and items.parquet, or a known corpus.")
]
_Arms = Annotated[str | None, typer.Option("--arms", help="Comma separated; all by default.")]


@dataclasses.dataclass(frozen=True)
class AugmentOptions(KeptStudy):
    """The options of every study of the augment mender; the names of their fields are those of the options."""

    model: Model = None
    backbones: Annotated[str, typer.Option("--backbones", help="Comma separated, such as sasrec,gru4rec,bert4rec.")] = (
        "sasrec"
    )
    seeds: Annotated[str, typer.Option("--seeds", help="Of the trainings, comma separated.")] = "42,43,44"
    groups: Annotated[
        str, typer.Option("--groups", help="terciles, fashion, book, yelp, or two lengths such as 5,20.")
    ] = "terciles"
    max_users: Annotated[int | None, typer.Option("--max-users", min=3, help="Take a random part of the users.")] = None
    up_to: Annotated[
        int | None, typer.Option("--up-to", min=3, help="Only users with so many interactions are asked about.")
    ] = None
    n_items: Annotated[int | None, typer.Option("--items-per-user", min=1, help="M, most pseudo items.")] = None
    decay: Annotated[float | None, typer.Option("--beta", min=0, max=1, help="Share of w that long users keep.")] = None
    long_after: Annotated[int | None, typer.Option("--long-after", min=0, help="T, what a long user is.")] = None
    mean_over: Annotated[
        str, typer.Option("--mean-over", help='The loss is the mean over "users" or over "targets".')
    ] = "users"
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Most passes of a training.")] = None
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Trainings at once.")] = None

    @property
    def backbone_names(self) -> list[str]:
        """The backbones that are trained on every arm."""
        return [name.strip() for name in self.backbones.split(",")]

    def configured(self, corpus: str) -> "RunConfig":
        """The configuration of a study on a corpus."""
        from seqmend.study import RunConfig
        from seqmend.study import augment_studies as studies
        from seqmend.study.denoise_studies import data_of

        data = data_of(corpus).model_dump(exclude_none=True)
        given = configured(self.config, data, self.settings, model=self.model)
        first = self.backbone_names[0]
        backbone = {"name": first, **given.get("backbone", {})}
        own = {
            "training": {**studies.TRAINING, "epochs": self.epochs or studies.TRAINING["epochs"]},
            "backbone": studies.BACKBONES.get(backbone["name"], {}),
        }
        values: dict[str, Any] = {**given, "backbone": backbone}
        for section, defaults in own.items():
            values[section] = {**defaults, **values.get(section, {})}
        told = {
            "n_items": self.n_items,
            "decay": self.decay,
            "long_after": self.long_after,
            "augment_up_to": self.up_to,
        }
        chosen = {name: value for name, value in told.items() if value is not None}
        values["augment"] = {**values.get("augment", {}), **chosen}
        if self.epochs is not None:
            values["training"]["epochs"] = self.epochs
        try:
            seeds = [int(part) for part in self.seeds.split(",")]
        except ValueError:
            raise InputError(f"--seeds {self.seeds} are no whole numbers", expected="such as 42,43,44") from None
        values |= {"data": data, "seeds": seeds}
        return RunConfig.from_dict(values, str(self.config) if self.config else "options")

    def read(self, corpus: str, progress: Any) -> Any:
        """The log that is studied, with all settings."""
        from seqmend.study.augment_studies import Setting

        parsed = self.configured(corpus)
        return Setting.read(parsed, progress, self.groups, self.max_users, self.mean_over)  # type: ignore[arg-type]


@bench.command("augment")
@study_options
def augment(study: AugmentOptions, folder: _Folder, arms: _Arms = None) -> None:
    """The augment mender beside no augmentation, duplication, ASReP, the pool's first items, and chance, by length."""
    _compare(study, folder, arms, "augment")


@bench.command("augment-ablation")
@study_options
def augment_ablation(study: AugmentOptions, folder: _Folder, arms: _Arms = None) -> None:
    """One thing of the augment mender changed at a time: pool, selection, order, reliability, weights, leakage."""
    _compare(study, folder, arms, "augment-ablation")


@bench.command("augment-sweep")
@study_options
def augment_sweep(
    study: AugmentOptions,
    folder: _Folder,
    items: Annotated[str | None, typer.Option("--items", help="Values of M, comma separated.")] = None,
    betas: Annotated[str | None, typer.Option("--betas", help="Values of beta, comma separated.")] = None,
    lengths: Annotated[str | None, typer.Option("--lengths", help="Values of T, comma separated.")] = None,
) -> None:
    """Quality at every number of pseudo items (M), and at every beta and T, by length of history."""
    from seqmend.study import augment_studies as studies

    is_all = items is None and betas is None and lengths is None
    n_items = [int(value) for value in numbers("--items", items, studies.N_ITEMS if is_all else ())]
    decays = numbers("--betas", betas, studies.DECAYS if is_all else ())
    long_after = [int(value) for value in numbers("--lengths", lengths, ())]
    figures = study.measure(
        "augment-sweep",
        partial(study.read, folder),
        studies.augment_sweep,
        n_items=n_items,
        decays=decays,
        long_after=long_after,
        backbones=study.backbone_names,
        jobs=study.jobs,
    )
    for backbone in figures["backbones"]:
        table = _table(f"Sweep, {backbone}", figures, ("", "value"), _groups(figures))
        for row in _wide(figures, backbone):
            value = "" if row["value"] is None else f"{row['value']:g}"
            table.add_row(row["parameter"] or "raw", value, *(_cell(one) for one in row["cells"]))
        out_console.print(table)
    _foot(figures)


def _compare(study: AugmentOptions, folder: str, arms: str | None, name: str) -> None:
    from seqmend.report import augment_arm_name
    from seqmend.study import augment_studies as studies

    figures = study.measure(
        name,
        partial(study.read, folder),
        studies.augment_comparison,
        study=name,
        ways=studies.ARMS if name == "augment" else studies.ABLATIONS,
        arms=None if arms is None else names(arms, ()),
        backbones=study.backbone_names,
        jobs=study.jobs,
    )
    for backbone in figures["backbones"]:
        for ranking in ("full", "sampled"):
            negatives = "whole catalogue" if ranking == "full" else "100 negatives"
            table = _table(f"NDCG@10 of {backbone}, {negatives}", figures, ("arm", "shown"), _groups(figures))
            for row in _wide(figures, backbone, ranking):
                shown = {"as_is": "as is", "mended": "augmented"}[row["test_history"]]
                cells = (_cell(one, with_difference=row["arm"] != "raw") for one in row["cells"])
                table.add_row(augment_arm_name(row["arm"]), shown, *cells)
            if table.rows:
                out_console.print(table)
    ours, columns = figures["ours"], _groups(figures)
    table = _table(f"{augment_arm_name(ours)} minus each arm, NDCG@10", figures, ("arm", "backbone"), columns)
    beside = {
        (row["backbone"], row["other"], row["group"]): row
        for row in figures["beside_ours"]
        if (row["ranking"], row["metric"]) == ("full", "ndcg@10")
    }
    for backbone, other in dict.fromkeys((place[0], place[1]) for place in beside):
        cells = (starred(beside[backbone, other, group]) for group in columns)
        table.add_row(augment_arm_name(other), backbone, *cells)
    out_console.print(table)
    _print_evidence(figures)
    _foot(figures)


def _print_evidence(figures: dict[str, Any]) -> None:
    from seqmend.report import augment_arm_name

    columns = ("users", "items", "w", "r", "r − r0", "test item", "by chance", "pop.")
    table = _table("Pseudo items", figures, ("arm",), columns)
    asked: list[str] = []
    for arm, said in figures["arms"].items():
        if said is None:
            continue
        overlap, cost, trust = said["overlap"]["test"], said["cost"], said["reliability"]
        gain = trust and trust["r_minus_r0"]
        table.add_row(
            augment_arm_name(arm),
            f"{said['users']:,}",
            f"{said['items_per_user']:.1f}",
            _number(said["weight"], 2),
            _number(trust and trust["mean"], 2),
            starred(gain, 3) if gain else "",
            f"{overlap['share']:.2%}" if overlap else "",
            f"{overlap['random']:.2%}" if overlap else "",
            _number(said["popularity"]["pseudo"], 0),
        )
        if cost["calls"]:
            tokens = cost["prompt_tokens"] + cost["completion_tokens"]
            asked.append(
                f"{augment_arm_name(arm)}: {cost['calls']:,} calls, {tokens:,} tokens, {cost['seconds']:,.0f} s"
            )
    out_console.print(table)
    real = next((said["popularity"]["real"] for said in figures["arms"].values() if said), None)
    if real is not None:
        out_console.print(f"A training interaction's item has {real:.0f} training interactions.", highlight=False)
    for line in asked:
        out_console.print(line, highlight=False)


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _groups(figures: dict[str, Any]) -> list[str]:
    """The groups that fit a terminal; what is no tail is in the figures alone."""
    return [group for group in figures["groups"]["users"] if group != "head"]


def _wide(figures: dict[str, Any], backbone: str, ranking: str = "full") -> list[dict[str, Any]]:
    """One row per arm and test history (and value), its NDCG@10 of every group in `cells`."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in figures["rows"]:
        if (row["backbone"], row["ranking"]) == (backbone, ranking):
            place = (row["arm"], row["test_history"], row.get("parameter"), row.get("value"))
            own = found.setdefault(place, {**row, "cells": []})
            if row["group"] in _groups(figures):
                own["cells"].append(row["ndcg@10"])
    rows = list(found.values())
    return [row for row in rows if row.get("parameter") is None or row["test_history"] == "mended"]


def _table(title: str, figures: dict[str, Any], names: tuple[str, ...], columns: Sequence[str]) -> Table:
    """A table whose groups of users are told with their sizes."""
    sizes = figures["groups"]["users"]
    headings = [f"{column}\n{sizes[column]:,}" if column in sizes else column for column in columns]
    return study_table(title, figures, names, headings)


def _cell(found: dict[str, Any], *, with_difference: bool = True) -> str:
    said = found["difference"]
    return f"{found['mean']:.4f}" + (f"\n{starred(said)}" if with_difference else "")


def _foot(figures: dict[str, Any]) -> None:
    short, medium = figures["groups"]["cuts"]
    out_console.print(
        f"{figures['model'] or 'no language model'}; M = {figures['n_items']}, T = {figures['long_after']}, "
        f"beta = {figures['decay']:g}; short: up to {short} interactions, medium: up to {medium}; tail: the fewest; "
        f"{len(figures['seeds'])} seed(s); second lines: difference to the raw log; {STAR}",
        style="dim",
        highlight=False,
    )
