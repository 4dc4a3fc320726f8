"""What a finished run recorded about itself: `metrics.json` and `manifest.json`, checked before anything is shown."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seqmend.errors import InputError
from seqmend.ledger import Ledger

Interval = tuple[float, float]
TestHistory = Literal["as_is", "mended"]

_Model = TypeVar("_Model", bound=BaseModel)
_REQUIRED = ("metrics.json", "manifest.json")
_LEDGER = "ledger.parquet"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Noise(_Part):
    """Noise that was injected into the training part: its kind, the share of interactions, the number of them."""

    kind: str
    ratio: float
    n: int


class Dataset(_Part):
    """The log that was mended."""

    name: str = "unnamed log"
    users: int | None = None
    items: int | None = None
    interactions: int | None = None
    split: str | None = None
    test_targets: int | None = None
    valid_targets: int | None = None
    noise: Noise | None = None
    quarantined: dict[str, int] = {}
    terms: list[str] = []


class Arm(_Part):
    """One version of the training data, trained and tested with one seed."""

    arm: str
    backbone: str
    seed: int
    split: str = "test"
    test_history: TestHistory = "as_is"
    metrics: dict[str, float]
    groups: dict[str, dict[str, float]] = {}


class ArmInterval(_Part):
    """Mean of one arm over seeds and users, and its 95 % interval."""

    arm: str
    backbone: str
    test_history: TestHistory = "as_is"
    metric: str
    mean: float
    ci95: Interval


class Comparison(_Part):
    """Paired difference of two arms, a - b."""

    backbone: str
    metric: str
    test_history: TestHistory = "as_is"
    a: str
    b: str
    mean_a: float
    mean_b: float
    difference: float
    ci95: Interval
    p_value: float
    seeds: int


class RecoveredShare(_Part):
    """(mended - raw) / (oracle - raw), or the reason why there is none."""

    backbone: str
    metric: str
    test_history: TestHistory = "as_is"
    value: float | None = None
    ci95: Interval | None = None
    reason: str | None = None


class Quality(_Part):
    """How well one confidence tells noise from real interactions; None where a figure has no meaning."""

    auroc: float | None = None
    auprc: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    top1: float | None = None
    ece: float | None = None
    n: int = 0


class Bin(_Part):
    """Positions with a confidence from `low` to `high`: their mean confidence, and the share that is noise."""

    low: float
    high: float
    confidence: float
    observed: float
    n: int


class Curve(_Part):
    """Precision at rising recall."""

    recall: list[float]
    precision: list[float]


class NoiseRate(_Part):
    """Share of interactions that are noise: as estimated by the mender, and as injected (None = not known)."""

    estimated: float | None = None
    injected: float | None = None


class Asked(_Part):
    """Quality over the positions of those windows only that the language model was asked about."""

    n_windows: int
    fused: Quality
    controls: dict[str, Quality] = {}


class DetectionComparison(_Part):
    """Paired difference of two detection figures, a - b, over all positions or those asked about."""

    scope: Literal["all", "asked"]
    metric: str
    a: str
    b: str
    mean_a: float
    mean_b: float
    difference: float
    ci95: Interval
    p_value: float


class Detection(Quality):
    """Quality of the fused confidence over all positions, and everything it is held against."""

    threshold: float | None = None
    controls: dict[str, Quality] = {}
    noise_rate: NoiseRate | None = None
    reliability: list[Bin] = []
    curves: dict[str, Curve] = {}
    ece_above: float | None = Field(default=None, alias="ece_above_0.2")
    asked: Asked | None = None
    comparisons: list[DetectionComparison] = []


class EditCounts(_Part):
    """How many edits there are."""

    proposed: int = 0
    accepted: int = 0
    share_of_interactions: float | None = None
    users: int | None = None
    by_kind: dict[str, int] = {}
    by_mender: dict[str, "EditCounts"] = {}


class LanguageModelUse(_Part):
    """What the language model was asked, and what that cost."""

    model: str | None = None
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cache_hits: int = 0
    windows_asked: int | None = None
    windows_total: int | None = None


class Metrics(_Part):
    """`metrics.json`."""

    schema_version: Literal[1] = Field(alias="schema")
    dataset: Dataset
    arms: list[Arm] = []
    arm_intervals: list[ArmInterval] = []
    comparisons: list[Comparison] = []
    recovered_share: list[RecoveredShare] = []
    detection: Detection | None = None
    edits: EditCounts | None = None
    llm: LanguageModelUse | None = None

    @cached_property
    def tested(self) -> list[Arm]:
        """The arms as they did on the test targets."""
        return [arm for arm in self.arms if arm.split != "valid"]

    @cached_property
    def backbones(self) -> list[str]:
        """Names of the backbones, in the order of the file."""
        return list(dict.fromkeys(arm.backbone for arm in self.tested))

    @cached_property
    def n_seeds(self) -> int:
        """Number of different seeds that recommenders were trained with."""
        return len({arm.seed for arm in self.tested})

    @classmethod
    def parse(cls, value: "Metrics | Mapping[str, Any]", where: str = "metrics") -> Self:
        """Check the content of a `metrics.json`.

        Raises:
            InputError: A value is missing or of the wrong type; names the first of them.
        """
        return _checked(cls, value, where)


class Stage(_Part):
    """One stage of the run; `reused` where an earlier result was taken."""

    name: str
    seconds: float = 0.0
    reused: bool = False


class Manifest(_Part):
    """`manifest.json`."""

    versions: dict[str, str | None] = {}
    seeds: list[int] = []
    inputs: dict[str, Any] = {}
    device: dict[str, Any] = {}
    stages: list[Stage] = []
    peak_memory_mib: float | None = None


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """Everything that is shown of a run.

    Attributes:
        folder: The run directory.
        metrics: What was measured.
        manifest: How it was made.
        ledgers: All edits, a ledger for every mender in the order of their work, each for what the one before made.
        truth: The injected noise, one row per item (see `seqmend.interactions.noise`); None where none was recorded.
        config: The configuration as text; None where there is no file.
    """

    folder: Path
    metrics: Metrics
    manifest: Manifest
    ledgers: list[Ledger]
    truth: pl.DataFrame | None
    config: str | None

    @cached_property
    def menders(self) -> list[str]:
        """Who proposed each ledger; "" where it holds no edit."""
        return [next(iter(ledger.edits["mender"]), "") for ledger in self.ledgers]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a run directory.

        Raises:
            InputError: The folder is missing or no finished run, or a file of it is damaged.
        """
        missing = [name for name in _REQUIRED if not (folder / name).is_file()]
        ledgers = sorted((folder / "ledgers").glob("*.parquet")) or [folder / _LEDGER]
        if not ledgers[0].is_file():
            missing.append(_LEDGER)
        if missing:
            raise InputError(
                "this folder is not a finished run" if folder.is_dir() else "there is no such run directory",
                where=str(folder),
                expected=f"a folder with {', '.join((*_REQUIRED, _LEDGER))}; missing: {', '.join(missing)}",
                fix="name the output folder of `seqmend run`; if that run was stopped, start it again and it resumes",
            )
        config = folder / "config.toml"
        return cls(
            folder,
            read_metrics(folder),
            _checked(Manifest, _read_json(folder / "manifest.json"), str(folder / "manifest.json")),
            [Ledger.read(path) for path in ledgers],
            _read_truth(folder / "noise_truth.parquet"),
            config.read_text(encoding="utf-8", errors="replace") if config.is_file() else None,
        )


def read_metrics(folder: Path) -> Metrics:
    """The checked `metrics.json` of a run directory.

    Raises:
        InputError: It is missing, damaged, or not what this version writes.
    """
    path = folder / "metrics.json"
    return Metrics.parse(_read_json(path), str(path))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "the run has no such file", where=str(path), fix="name the output folder of a finished `seqmend run`"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            "cannot read this file of the run", where=str(path), expected=f"JSON ({error})", fix="run again"
        ) from error


def _read_truth(path: Path) -> pl.DataFrame | None:
    if not path.is_file():
        return None
    columns = ["user_id", "position", "item_before"]
    try:
        truth = pl.read_parquet(path, columns=columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            "cannot read the record of the injected noise",
            where=str(path),
            expected=f"Parquet with the columns {', '.join(columns)}",
            fix="run again",
        ) from error
    return truth.select(pl.col("user_id").cast(pl.String), pl.col("position").cast(pl.Int64), "item_before")


def _checked(model: type[_Model], value: Any, where: str) -> _Model:
    if isinstance(value, model):
        return value
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = " > ".join(str(part) for part in first["loc"])
        raise InputError(
            f"{place or 'the content'} is not what a run writes: {first['msg']}",
            where=where,
            fix="make the report with the version of SeqMend that made the run, or run again",
        ) from error
