"""What a run is told: one typed configuration, read from TOML or made by the command line."""

import difflib
import os
import tomllib
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from seqmend.errors import InputError
from seqmend.files import write_atomic
from seqmend.interactions import ColumnNames, NoiseKind
from seqmend.llm import Budget, ServerConfig
from seqmend.menders.augment import AugmentConfig
from seqmend.menders.correct import CorrectConfig
from seqmend.menders.denoise import DenoiseConfig
from seqmend.recommenders import BackboneConfig, SASRecConfig, TrainingConfig

Arm = Literal["raw", "random", "llm_free", "mended", "oracle"]
ARMS: tuple[Arm, ...] = get_args(Arm)
SplitName = Literal["leave-one-out", "global-time"]
MenderName = Literal["denoise", "correct", "augment"]
_ORDER: tuple[MenderName, ...] = get_args(MenderName)
_NONE = "none"  # TOML has no word for it
_SERVED = "server:"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(_Section):
    """Where the log is and how it is read.

    Attributes:
        corpus: Name of a known corpus (`seqmend data`), instead of files.
        interactions: The log.
        items: Items with titles.
        user_column: Column names that no alias matches; also for the others.
        item_column: See `user_column`.
        time_column: See `user_column`.
        rating_column: See `user_column`.
        title_column: See `user_column`.
        delimiter: Of delimited text; detected where absent.
        encoding: Of delimited text; detected where absent.
        order: "file" = rows are in the order of time and there is no time column.
        keep_repeats: Keep exact repeats of user, item and time.
    """

    corpus: str | None = None
    interactions: Path | None = None
    items: Path | None = None
    user_column: str | None = None
    item_column: str | None = None
    time_column: str | None = None
    rating_column: str | None = None
    title_column: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    order: Literal["time", "file"] = "time"
    keep_repeats: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> "DataConfig":
        if (self.corpus is None) == (self.interactions is None):
            raise ValueError("give either interactions (a file) or corpus (a known name)")
        return self

    def columns(self) -> ColumnNames:
        """The given column names."""
        return ColumnNames(
            user_id=self.user_column,
            item_id=self.item_column,
            timestamp=self.time_column,
            rating=self.rating_column,
            title=self.title_column,
        )


class NoiseConfig(_Section):
    """Known noise to inject into the training part, for a study of how much of it is found and undone."""

    kind: NoiseKind = "uniform"
    ratio: float = Field(default=0.1, gt=0, lt=1)
    seed: int = 0


class LanguageConfig(_Section):
    """Which models read the titles.

    Attributes:
        model: Name or folder of a language model, "server:MODEL" for one that `server` runs, or "none".
        encoder: Name or folder of a sentence encoder, or "none": titles are no evidence then.
        test_windows: Windows of the test histories that the model is asked about.
        max_calls: Most new questions of one run. Like the other limits it ends the reading of windows early; only where
            it does not pay for every title's representation, which all verdicts need, the run stops.
        max_tokens: Most new tokens of one run.
        max_seconds: Most seconds of one run spent asking.
        max_money: Most money of one run, in the currency of the prices.
        prompt_price: Of a million tokens that the model reads.
        completion_price: Of a million tokens that it writes.
        server: Where a served model is and how it is asked.
    """

    model: str | None = "smollm2-135m"
    encoder: str | None = "minilm-l6"
    test_windows: int | None = Field(default=None, ge=0)
    max_calls: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    max_seconds: float | None = Field(default=None, ge=0)
    max_money: float | None = Field(default=None, ge=0)
    prompt_price: float = Field(default=0.0, ge=0)
    completion_price: float = Field(default=0.0, ge=0)
    server: ServerConfig = ServerConfig()

    @property
    def served_model(self) -> str | None:
        """The server's name for the model; None where it is not a server's."""
        return self.model.removeprefix(_SERVED) if self.model and self.model.startswith(_SERVED) else None

    @model_validator(mode="after")
    def _money_needs_a_price(self) -> "LanguageConfig":
        if self.max_money is not None and not (self.prompt_price or self.completion_price):
            raise ValueError("max_money needs prompt_price or completion_price, per million tokens")
        return self

    def budget(self) -> Budget:
        """What the model may cost."""
        return Budget(
            self.max_calls,
            self.max_tokens,
            self.max_seconds,
            self.max_money,
            self.prompt_price,
            self.completion_price,
        )

    @field_validator("model", "encoder", mode="before")
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        return None if value == _NONE else value


class RunConfig(_Section):
    """Everything that decides a run's result.

    Attributes:
        menders: Whose edits are carried out, one after another: each sees what the ones before it made of the log.
        form: Of the training rows; "auto" is the first that the backbone can learn from.
    """

    data: DataConfig
    menders: tuple[MenderName, ...] = Field(default=("denoise",), min_length=1)
    split: SplitName = "leave-one-out"
    noise: NoiseConfig | None = None
    language: LanguageConfig = LanguageConfig()
    denoise: DenoiseConfig = DenoiseConfig()
    correct: CorrectConfig = CorrectConfig()
    augment: AugmentConfig = AugmentConfig()
    backbone: BackboneConfig = SASRecConfig()
    form: Literal["auto", "sequence", "instance"] = "auto"
    training: TrainingConfig = TrainingConfig()
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    arms: tuple[Arm, ...] = ARMS

    @model_validator(mode="before")
    @classmethod
    def _a_small_model_is_taught(cls, values: Any) -> Any:
        """Where it is not said how the model learns the correction question, one in this process is tuned to it."""
        language, correct = values.get("language", {}), values.get("correct", {})
        if not isinstance(language, dict) or not isinstance(correct, dict) or {"teacher", "mode"} & set(correct):
            return values
        model = str(language.get("model", LanguageConfig().model))
        is_here = model not in (_NONE, str(None)) and not model.startswith(_SERVED)
        return {**values, "correct": {**correct, "teacher": "lora" if is_here else "none"}}

    @field_validator("menders", mode="after")
    @classmethod
    def _in_an_order_that_has_a_meaning(cls, menders: tuple[MenderName, ...]) -> tuple[MenderName, ...]:
        if list(menders) != [name for name in _ORDER if name in menders]:
            raise ValueError(f"menders work in the order {', '.join(_ORDER)}, each at most once")
        if {"correct", "augment"} <= set(menders):
            raise ValueError("correct edits single instances and augment whole sequences: not both in one run")
        return menders

    @model_validator(mode="after")
    def _correct_has_what_it_needs(self) -> "RunConfig":
        if "correct" in self.menders and self.language.model is None:
            raise ValueError("correct asks a language model (language.model)")
        if "correct" in self.menders and self.form == "sequence":
            raise ValueError('correct edits single instances: set form = "instance", or leave it out')
        return self

    @model_validator(mode="after")
    def _a_model_where_one_is_asked(self) -> "RunConfig":
        published = self.denoise.llm4dsr
        if self.language.model is None and (self.denoise.method == "llm4dsr" or published.tuning.enabled):
            raise ValueError('denoise.method = "llm4dsr" and llm4dsr.tuning need a language model (language.model)')
        if self.language.served_model is not None and (
            self.denoise.method == "llm4dsr" or published.tuning.enabled or published.adapter is not None
        ):
            raise ValueError("LLM4DSR as published needs a language model in this process, not a server's")
        if self.denoise.method == "llm4dsr" and published.verdicts == "window" and self.form != "instance":
            raise ValueError('verdicts per window edit single instances: set form = "instance"')
        return self

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> "RunConfig":
        """A configuration from plain values.

        Raises:
            InputError: An unknown key (near matches are named) or a value that does not fit.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _explained(error, where) from None

    @classmethod
    def read(cls, path: Path, **missing: Any) -> "RunConfig":
        """Read a TOML file; relative paths in it are relative to its folder.

        Args:
            path: The file.
            missing: Plain values of sections that it may lack.

        Raises:
            InputError: No such file, not TOML, or see `from_dict`.
        """
        fix = None if path.suffix == ".toml" else "a log goes behind --interactions, a known corpus behind --corpus"
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the configuration: {error.strerror}", where=str(path), fix=fix) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"the configuration is not TOML: {error}", where=str(path), fix=fix) from None
        for key in ("interactions", "items"):
            if isinstance(data := values.get("data"), dict) and isinstance(data.get(key), str):
                data[key] = str(path.parent / data[key])
        return cls.from_dict({**missing, **values}, str(path))

    def write(self, path: Path) -> None:
        """Write as TOML, atomically; absent values are left out, and paths are relative to the file's folder."""
        values = self.model_dump(mode="json", exclude_none=True)
        for name in ("interactions", "items"):
            if given := getattr(self.data, name):
                values["data"][name] = os.path.relpath(given, path.parent)
        for name in ("model", "encoder"):  # left out they would mean the default
            values["language"].setdefault(name, _NONE)
        with write_atomic(path) as temporary:
            temporary.write_bytes(tomli_w.dumps(values).encode())


def _explained(error: ValidationError, where: str) -> InputError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_invalid":  # of a section whose name tells its kind
        key, message = f"{key}.name", f"Input should be one of {first.get('ctx', {})['expected_tags']}"
    if first["type"] == "missing":
        return InputError(f"the setting {key} is missing", where=where, fix="see docs/configuration.md")
    if first["type"] != "extra_forbidden":
        return InputError(
            f"the setting {key} does not fit: {message}" if key else f"the settings do not fit together: {message}",
            where=where,
            fix="see docs/configuration.md for the settings and their ranges",
        )
    model: type[BaseModel] = RunConfig
    kinds: list[type[BaseModel]] = []
    for part in map(str, first["loc"][:-1]):
        if part in model.model_fields:
            kinds = list(_models_in(model.model_fields[part].annotation))
            model = kinds[0]
        else:  # the name that tells one kind of section from another
            model = next(kind for kind in kinds if kind.model_fields["name"].default == part)
    near = difflib.get_close_matches(str(first["loc"][-1]), model.model_fields, n=3)
    return InputError(
        f"unknown setting {key!r}",
        where=where,
        expected=f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(model.model_fields)}",
    )


def _models_in(annotation: Any) -> Generator[type[BaseModel]]:
    """The sections that an annotation (a class, a union, an annotated one) allows."""
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for part in get_args(annotation):
        yield from _models_in(part)
