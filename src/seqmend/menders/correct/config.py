"""Settings of the correct mender: `mode` is the one switch between the corrected and the code-faithful form."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seqmend.llm import LoRAConfig

Mode = Literal["default", "paper"]

Signal = Literal["native", "reliability", "deviation", "rank", "dropout", "co-occurrence", "random"]
Stages = Literal["both", "inputs", "targets"]
Unmatched = Literal["drop", "keep"]
Doubted = Literal["drop", "ask"]
AnswerForm = Literal["auto", "probabilities", "numbers", "tags"]

Way = Literal["none", "textual-gradient", "lora"]

_PAPER: dict[str, Any] = {
    "answers": "tags",
    "lazy": False,
    "unreadable": "none",
    "drop_repeats": True,
    "known_noise": 0.0,
}
_PAPER_RULES: dict[str, Any] = {"drop": True, "add": True, "drop_below": 1, "add_from": 4}
_PAPER_GRADIENT: dict[str, Any] = {
    "epochs": 50,
    "patience": None,
    "select_by": "precision",
    "race": False,
    "at_best": False,
    "n_validation": 0,
    "seed": 123,
}


def _with_preset(values: Any, paper: dict[str, Any]) -> Any:
    """Raw settings, with those of the paper for what they leave open if that is their mode."""
    return {**paper, **values} if isinstance(values, dict) and values.get("mode") == "paper" else values


class MemoryConfig(BaseModel):
    """What the question tells of an item beside its title.

    Attributes:
        add_memory: Tell a summary of every item; else its title only.
        written_by: Summaries are written by the language model from titles and attributes, or are the attributes.
        most_alike: Share of words in common (Jaccard) from which the summaries of two items count as the same text,
            which says nothing of either.
        max_new_tokens: Longest written summary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    add_memory: bool = False
    written_by: Literal["model", "attributes"] = "model"
    most_alike: float = Field(default=0.8, gt=0, le=1)
    max_new_tokens: int = Field(default=96, ge=1)


class RulesConfig(BaseModel):
    """Rules on attribute values that an input shares with the target, applied to what the model answers.

    Attributes:
        columns: Columns of the item file that hold key attributes; none = no rules.
        separator: Between values in these columns; None = lists in brackets, or what separates them by its looks.
        drop: Inputs that share few values may be dropped, whatever the model says.
        add: Inputs that share many values may be added.
        drop_below: Shared values that an input needs to stay; None = picked on validation rows, as is whether to.
        add_from: Shared values from which an input is added; None = picked likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[str, ...] = ()
    separator: str | None = None
    drop: bool = False
    add: bool = False
    drop_below: int | None = Field(default=None, ge=1)
    add_from: int | None = Field(default=None, ge=1)


class TextualGradientConfig(BaseModel):
    """How the prompt is improved by the model's own criticism (LLM4RSR, section 3.6 of our account of it).

    Attributes:
        mode: "paper" = as the official code does it: prompts are selected by precision, on all rows, without validation
            rows; the profile is edited for the plan's reasons; summaries are criticised and never rewritten. How its
            final prompt was picked is not public; here the first of the last beam is.
        rows: Self-labelled instances to make.
        n_validation: Of these, rows that tell which prompt is kept; at most a quarter.
        n_test: Of these, rows that nothing is chosen by; at most a quarter.
        epochs: Most rounds of criticism.
        patience: Epochs without a better prompt after which it ends; None = no early end.
        n_error_rows: Training rows per epoch on which every prompt's errors are looked for.
        n_shown: Errors of a kind that a criticism is told of.
        n_select_rows: Training rows per epoch by which prompts are selected.
        beam: Prompts that go on.
        select_by: Mean of which mark.
        race: Ask about few of these rows first and drop the worse half, and so on (successive halving).
        at_best: A prompt is marked at the threshold that is best for it, where the model tells probabilities.
        n_memory_pairs: Most pairs of items per epoch whose summaries are rewritten.
        max_new_tokens: Longest criticism or new wording.
        seed: Of which rows are looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "default"
    rows: int = Field(default=1000, ge=1)
    n_validation: int = Field(default=100, ge=0)
    n_test: int = Field(default=100, ge=0)
    epochs: int = Field(default=5, ge=0)
    patience: int | None = Field(default=2, ge=1)
    n_error_rows: int = Field(default=30, ge=1)
    n_shown: int = Field(default=5, ge=1)
    n_select_rows: int = Field(default=100, ge=1)
    beam: int = Field(default=4, ge=1)
    select_by: Literal["f1", "precision"] = "f1"
    race: bool = True
    at_best: bool = True
    n_memory_pairs: int = Field(default=10, ge=0)
    max_new_tokens: int = Field(default=256, ge=1)
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        return _with_preset(values, _PAPER_GRADIENT)

    @model_validator(mode="after")
    def _can_select(self) -> Self:
        if self.mode == "default" and not self.n_validation:
            raise ValueError("n_validation is 0: the best prompt is the one that is best on validation rows")
        return self


class CorrectTuningConfig(BaseModel):
    """How the language model is tuned to the question (`teacher = "lora"`).

    Attributes:
        rows: Self-labelled instances to make.
        validation_share: Of their targets; these rows stop the fit and, without `weighing.evidence`, tell how far its
            answers are trusted.
        copies: Times that each row is shown, its inputs in another order every time.
        orders: Orders in which the inputs of a question are asked about; the answer is their mean log-odds.
        tell_attributes: The question tells of every item's attributes; else of its title alone.
        lora: How the adapter is fitted.
        seed: Of the parts and the orders.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(default=1000, ge=10)
    validation_share: float = Field(default=0.2, gt=0, lt=1)
    copies: int = Field(default=2, ge=1)
    orders: int = Field(default=2, ge=1)
    tell_attributes: bool = False
    lora: LoRAConfig = LoRAConfig(
        target_modules=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        dropout=0.0,
        last_layers=8,
        learning_rate=1e-3,
        warmup_steps=10,
        epochs=5,
        batch_size=16,
        evaluate_every=20,
        patience=4,
    )
    seed: int = 0


class CorrectWeighingConfig(BaseModel):
    """How probabilities from a language model are weighed with what else is known of an input and its target.

    Attributes:
        evidence: Whether they are: those of a tuned model, and of any other with `known_noise` and without `rules`.
        rows: Instances of the log, some of their items replaced by chance, that tell how to weigh them.
        noise: Share of the interactions that are replaced there, for a tuned model without `known_noise`.
        ask: About all instances or, with `known_noise`, those alone of which an answer that is not out of the ordinary
            could change what is dropped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    evidence: bool = True
    rows: int = Field(default=500, ge=10)
    noise: float = Field(default=0.2, gt=0, lt=1)
    ask: Literal["undecided", "all"] = "undecided"


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
        threshold: Least probability of an input that goes with its target, by a prompt of textual gradient descent on
            the scale of its own best threshold; a tuned model without `known_noise` names the inputs that promise the
            best F1 instead.
        lazy: Ask about a candidate only where none before it fits; otherwise about all of them (paper).
        unmatched: What is done to an instance that no candidate fits.
        known_noise: Share of the interactions that are replaced by chance in a copy of the log, of which a second
            recommender learns: what it doubts there tells which targets and inputs are noise here, and what a
            model's answers are worth (see `Strangers`). 0 = the language model alone doubts (paper).
        doubted: What is done to an instance whose target is more likely noise than not: it goes, or the candidates are
            asked about.
        stages: Drop inputs, find other targets, or both. With "targets" an instance keeps all its inputs; with "inputs"
            no target is doubted.
        unreadable: An answer that cannot be read keeps the instance, or says that no input goes with the target
            (paper).
        drop_repeats: An input that is the target itself is always dropped (paper).
        max_new_tokens: Longest written answer.
        calibration_rows: Self-labelled instances that tell how far to trust a model that only writes.
        domain: What the items are, in the plural: "movies", "toys".
        teacher: How the model learns the question: not at all, by rewording it (textual gradient descent), or by
            being tuned to it (LoRA).
        textual_gradient: How it is reworded.
        tuning: How it is tuned.
        weighing: Of its answers with other evidence.
        memory: What the question tells of an item.
        rules: On attributes, applied to the answers.
        seed: Of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "default"
    max_length: int = Field(default=5, ge=1)
    signal: Signal = "native"
    uncertain_share: float = Field(default=0.2, ge=0, le=1)
    n_candidates: int = Field(default=3, ge=0)
    answers: AnswerForm = "auto"
    threshold: float = Field(default=0.5, gt=0, lt=1)
    lazy: bool = True
    unmatched: Unmatched = "drop"
    known_noise: float = Field(default=0.15, ge=0, lt=1)
    doubted: Doubted = "drop"
    stages: Stages = "both"
    unreadable: Literal["keep", "none"] = "keep"
    drop_repeats: bool = False
    max_new_tokens: int = Field(default=64, ge=1)
    calibration_rows: int = Field(default=100, ge=0)
    domain: str = "items"
    teacher: Way = "none"
    textual_gradient: TextualGradientConfig = TextualGradientConfig()
    tuning: CorrectTuningConfig = CorrectTuningConfig()
    weighing: CorrectWeighingConfig = CorrectWeighingConfig()
    memory: MemoryConfig = MemoryConfig()
    rules: RulesConfig = RulesConfig()
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        nested = {"textual_gradient": {"mode": "paper"}, "rules": _PAPER_RULES}
        preset = _with_preset(values, {**_PAPER, **nested})
        if preset is not values:  # what is set within a nested table leaves its other presets as they are
            for name, own in nested.items():
                if isinstance(given := values.get(name), dict):
                    preset[name] = {**own, **given}
        return preset
