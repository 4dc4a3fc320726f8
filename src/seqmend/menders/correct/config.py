"""Settings of the correct mender: `mode` is the one switch between the corrected and the code-faithful form."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Signal = Literal["native", "deviation", "rank", "dropout", "co-occurrence", "random"]
Stages = Literal["both", "inputs", "targets"]
Unmatched = Literal["drop", "keep"]
AnswerForm = Literal["auto", "probabilities", "numbers", "tags"]

_PAPER: dict[str, Any] = {
    "answers": "tags",
    "lazy": False,
    "unreadable": "none",
    "drop_repeats": True,
}


class CorrectConfig(BaseModel):
    """Settings of LLM4RSR. A mode decides the defaults of all others; each may still be set by itself.

    What `paper` does not reproduce: answers that are matched against the whole catalogue and so bring in items that the
    user never chose (here only the instance's own inputs can be named), inputs whose order is lost, and a training part
    that holds the validation target. How the code joins the answers about several candidates is not public; here the
    first that any input goes with is taken.

    Attributes:
        mode: "default" = corrected and free of leakage; "paper" = as the official code does it.
        max_length: L, inputs of an instance.
        signal: What an instance is uncertain by (see `uncertain.uncertainty`).
        uncertain_share: q, share of the instances that the language model is asked about.
        n_candidates: Targets of the recommender's that may take a target's place.
        answers: How the model answers: probabilities of yes and no for every input; JSON that lists the numbers of
            those that go with the target; a tagged list of their titles (paper). "auto" is probabilities from a model
            that has them, else numbers.
        threshold: Least probability of an input that goes with its target.
        lazy: Ask about a candidate only where none before it fits; otherwise about all of them (paper).
        unmatched: What is done to an instance that no candidate fits.
        stages: Drop inputs, find other targets, or both. With "targets" an instance keeps all its inputs.
        unreadable: An answer that cannot be read keeps the instance, or says that no input goes with the target
            (paper).
        drop_repeats: An input that is the target itself is always dropped (paper).
        max_new_tokens: Longest written answer.
        calibration_rows: Self-labelled instances that tell how far to trust a model that only writes.
        seed: Of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["default", "paper"] = "default"
    max_length: int = Field(default=5, ge=1)
    signal: Signal = "native"
    uncertain_share: float = Field(default=0.2, ge=0, le=1)
    n_candidates: int = Field(default=3, ge=0)
    answers: AnswerForm = "auto"
    threshold: float = Field(default=0.5, gt=0, lt=1)
    lazy: bool = True
    unmatched: Unmatched = "drop"
    stages: Stages = "both"
    unreadable: Literal["keep", "none"] = "keep"
    drop_repeats: bool = False
    max_new_tokens: int = Field(default=64, ge=1)
    calibration_rows: int = Field(default=100, ge=0)
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        return {**_PAPER, **values} if isinstance(values, dict) and values.get("mode") == "paper" else values
