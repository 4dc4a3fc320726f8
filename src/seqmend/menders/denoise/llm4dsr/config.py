"""Settings of LLM4DSR as published: `mode` is the one switch between the corrected and the code-faithful form."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seqmend.llm import LoRAConfig

Scorer = Literal["trie", "first_token", "full_title"]
Intruders = Literal["uniform", "popular", "hard"]

_LORA = {"epochs": 50}
_PAPER: dict[str, Any] = {
    "scorer": "first_token",
    "with_target": True,
    "verdicts": "window",
    "gate": "quantile",
    "max_edits": 2,
    "max_edits_test": 1,
    "above_none": False,
    "edits_by": "item",
    "grounding": "model",
    "exclude": "padding",
    "max_new_tokens": 512,
}
_PAPER_TUNING: dict[str, Any] = {"held_out": 0, "clean_share": 0.0, "loss": "text", "allow_repeats": True, "seed": 42}


class TuningConfig(BaseModel):
    """How the language model is tuned to name the intruder of a window (LLM4DSR, generate_noise_data.py).

    Attributes:
        enabled: Whether a run tunes the model before it asks it.
        windows: Training windows that become examples.
        held_out: Further windows, of other users, that decide when to stop and where the gate's threshold lies.
        corruptions: Intruders in each corrupted window.
        intruders: Drawn from all items alike, as often as they were chosen, or from the nearest titles of the item
            whose place they take.
        allow_repeats: Intruders may be items of the window, and even the item itself (paper).
        clean_share: Windows that are left as they are; the right response is None.
        loss: Over the response alone, or over the whole text (paper).
        lora: The adapter and its fitting.
        seed: Of the choice of windows and intruders.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    windows: int = Field(default=5000, ge=1)
    held_out: int = Field(default=500, ge=0)
    corruptions: int = Field(default=1, ge=1)
    intruders: Intruders = "uniform"
    allow_repeats: bool = False
    clean_share: float = Field(default=0.2, ge=0, lt=1)
    loss: Literal["response", "text"] = "response"
    lora: LoRAConfig = LoRAConfig(epochs=50)
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _as_long_as_published(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("lora"), dict):
            return {**values, "lora": {**_LORA, **values["lora"]}}
        return values


class LLM4DSRConfig(BaseModel):
    """Settings of the published method. A mode decides the defaults of all others; each may still be set by itself.

    What `paper` does not reproduce: prompts that differ between tuning and inference, a suggestion for every top-3 item
    (those that pass the gate get one, with the same result), and a test target that is rewritten because it is the
    flagged item: an edit of a held-out target cannot be said in a ledger.

    Attributes:
        mode: "default" = corrected and free of leakage; "paper" = as the official code does it.
        scorer: How the model is asked (see `scores.py`).
        max_length: Items of a history.
        with_target: Training windows show, and may lose, their target (paper).
        verdicts: One per interaction, the mean over its windows, or one per window that holds it (paper).
        stride: Distance of window starts where there is one verdict per interaction; `max_length` where absent.
        gate: Threshold on the probability, fitted on corrupted windows, or a quantile of the judged data's own
            log-scores (paper).
        threshold: Instead of the fitted one.
        quantile: The share of training scores that cannot pass, where the gate is a quantile.
        quantile_test: The same for test histories.
        max_edits: K, most edits per window (per `max_length` consecutive interactions, for verdicts by interaction).
        max_edits_test: The same for test histories; `max_edits` where absent.
        above_none: Edit only what is likelier than that nothing is noisy.
        edits_by: The flagged position, or all positions of the window that hold the flagged item (paper).
        grounding: What tells the nearest title: a sentence encoder, or the untuned model's last hidden state (paper).
        exclude: Suggestions may not be the flagged item, an item of the window or one that training lacks; or
            anything is allowed (paper).
        max_distance: Euclidean distance of unit vectors beyond which the nearest title does not count and the item is
            kept; no limit where absent.
        max_new_tokens: Longest suggestion.
        adapter: A folder with a fitted adapter for the model.
        tuning: How to fit one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["default", "paper"] = "default"
    scorer: Scorer = "trie"
    max_length: int = Field(default=10, ge=1)
    with_target: bool = False
    verdicts: Literal["interaction", "window"] = "interaction"
    stride: int | None = Field(default=None, ge=1)
    gate: Literal["probability", "quantile"] = "probability"
    threshold: float | None = Field(default=None, ge=0, le=1)
    quantile: float = Field(default=0.6, ge=0, le=1)
    quantile_test: float = Field(default=0.9, ge=0, le=1)
    max_edits: int = Field(default=1, ge=0)
    max_edits_test: int | None = Field(default=None, ge=0)
    above_none: bool = True
    edits_by: Literal["position", "item"] = "position"
    grounding: Literal["encoder", "model"] = "encoder"
    exclude: Literal["window", "padding"] = "window"
    max_distance: float | None = Field(default=None, ge=0)
    max_new_tokens: int = Field(default=64, ge=1)
    adapter: Path | None = None
    tuning: TuningConfig = TuningConfig()

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("mode") != "paper":
            return values
        tuning = values.get("tuning", {})
        tuning = tuning.model_dump(exclude_unset=True) if isinstance(tuning, TuningConfig) else tuning
        return {**_PAPER, **values, "tuning": {**_PAPER_TUNING, **tuning}}

    @model_validator(mode="after")
    def _items_belong_to_windows(self) -> "LLM4DSRConfig":
        if self.edits_by == "item" and self.verdicts != "window":
            raise ValueError('edits by item are those of a window: they need verdicts = "window"')
        return self
