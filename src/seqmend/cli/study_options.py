"""What the studies of the menders are told, and what they make of it."""

import dataclasses
from collections.abc import Callable, Sequence
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from seqmend.cli.console import JsonFile, showing, write_figures
from seqmend.cli.options import ConfigFile, Model, Set, configured, with_options
from seqmend.errors import InputError

if TYPE_CHECKING:
    from seqmend.progress import Progress
    from seqmend.study import RunConfig
    from seqmend.study.denoise_studies import Setting


Corpus = Annotated[str, typer.Argument(help="A known corpus, or a folder with interactions.parquet and items.parquet.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Repetitions, each with its own noise and training.")]
Ratio = Annotated[float, typer.Option("--ratio", help="Injected items per training interaction.")]


@dataclasses.dataclass(frozen=True)
class KeptStudy:
    """The options of every study; the names of their fields are those of the options."""

    config: ConfigFile = None
    settings: Set = None
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the study; the same command goes on in it.")] = (
        None
    )
    json_file: JsonFile = None
    figure: Annotated[Path | None, typer.Option("--figure", help="Write the chart to this SVG file.")] = None

    def folder(self, study: str, setting: Any) -> Path:
        """Where a study keeps what it has done."""
        return self.out or Path("runs") / "bench" / f"{study}-{setting.name}"

    def write(self, figures: dict[str, Any]) -> None:
        """Write figures and chart, where files were named for them."""
        from seqmend.files import write_atomic
        from seqmend.report import study_chart_svg

        write_figures(self.json_file, figures)
        if self.figure is not None:
            with write_atomic(self.figure) as temporary:
                temporary.write_text(study_chart_svg(figures), encoding="utf-8")

    def measure(
        self,
        name: str,
        read: Callable[["Progress"], Any],
        study: Callable[..., dict[str, Any]],
        /,
        *arguments: Any,
        **options: Any,
    ) -> dict[str, Any]:
        """Read the log, study it in the study's folder, and write what was found.

        Args:
            name: Of the study.
            read: Gives its setting.
            study: Takes setting, arguments, folder and, by name, progress and options.
            arguments: See `study`.
            options: See `study`.
        """
        with showing() as progress:
            setting = read(progress)
            figures = study(setting, *arguments, self.folder(name, setting), progress=progress, **options)
        self.write(figures)
        return figures


@dataclasses.dataclass(frozen=True)
class StudyOptions(KeptStudy):
    """The options of a study of known noise."""

    model: Model = None
    max_users: Annotated[int | None, typer.Option("--max-users", min=3, help="Take a random part of the users.")] = None
    titles: Annotated[
        str, typer.Option("--titles", help='"own", or "random": strings that no model has ever read.')
    ] = "own"

    def configured(self, corpus: str, seeds: int, threshold: float | None = None) -> "RunConfig":
        """The configuration of a study on a corpus (a known one, or a folder)."""
        from seqmend.study import RunConfig
        from seqmend.study.denoise_studies import data_of

        data = data_of(corpus).model_dump(exclude_none=True)
        values = configured(self.config, data, self.settings, model=self.model, threshold=threshold)
        for section, given in self.overrides().items():
            values[section] = {**values.get(section, {}), **given}
        values |= {"data": data, "seeds": tuple(range(seeds))}  # and nothing of the configuration's log
        return RunConfig.from_dict(values, str(self.config) if self.config else "options")

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Further settings that the options replace, by section."""
        return {}

    def read(self, config: "RunConfig", progress: "Progress") -> "Setting":
        """The log that is studied."""
        from seqmend.study.denoise_studies import Setting

        if self.titles not in ("own", "random"):
            raise InputError(f"--titles {self.titles} is not known", expected="own or random")
        return Setting.read(config, progress, self.max_users, self.titles)


@dataclasses.dataclass(frozen=True)
class TrainingStudyOptions(StudyOptions):
    """The options of a study that can train backbones."""

    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Any that seqmend train knows; SASRec by default.")
    ] = None
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Most passes of a training.")] = None
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Trainings at once.")] = None

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Which backbone is trained for how long."""
        given = {"backbone": {"name": self.backbone}, "training": {"epochs": self.epochs}}
        return {section: values for section, values in given.items() if None not in values.values()}


def study_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its kind of study; it takes them as `study`."""
    kind = get_type_hints(command)["study"]
    annotations = get_type_hints(kind, include_extras=True)
    options = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=annotations[field.name])
        for field in dataclasses.fields(kind)
    ]
    return with_options(command, "study", options, lambda values: kind(**values))


def noise_kind(kind: str) -> Any:
    """A kind of noise by its name."""
    from seqmend.study.denoise_studies import KINDS

    if kind not in KINDS:
        raise InputError(f"noise of kind {kind!r} is not known", expected=", ".join(KINDS))
    return kind


def names(text: str | None, default: Sequence[str]) -> Sequence[str]:
    """Names separated by commas."""
    return default if text is None else [part.strip() for part in text.split(",")]


def numbers(option: str, text: str | None, default: Sequence[float]) -> Sequence[float]:
    """Numbers separated by commas."""
    if text is None:
        return default
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text} is no list of numbers", expected="values such as 0.1,0.5") from None
