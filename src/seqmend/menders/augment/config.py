"""Settings of the augment mender: `mode` is the one switch between the corrected and the code-faithful form."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seqmend.llm import LoRAConfig
from seqmend.llm.protocol import Capability

Candidates = Literal["blended", "reversed", "random", "popular", "neighbours"]
Selection = Literal["auto", "model", "rank", "random", "similar"]
AnswerForm = Literal["auto", "branches", "titles", "numbers", "names"]
Order = Literal["best_last", "best_first", "random"]
Score = Literal["similarity", "expected", "probability"]
WeightMap = Literal["raw", "rank", "hit"]

_PAPER: dict[str, Any] = {
    "candidates": "reversed",
    "selection": "model",
    "exclude_seen": False,
    "answers": "names",
    "mixing": "model",
    "n_items": 12,
    "order": "best_first",
    "sees_validation": True,
    "sample_users": 0,
    "max_new_tokens": 256,
}


class AugmentTuningConfig(BaseModel):
    """How the language model is tuned to the question by real histories.

    Attributes:
        enabled: Tune an adapter first.
        examples: Users whose first, or last, training item is asked for.
        validation_share: Of the examples, those that decide when to stop.
        lora: How the adapter is fitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    examples: int = Field(default=4000, ge=2)
    validation_share: float = Field(default=0.05, gt=0, lt=1)
    lora: LoRAConfig = LoRAConfig(batch_size=32, learning_rate=5e-4)


class AugmentConfig(BaseModel):
    """Settings of LLMSeR. A mode decides the defaults of all others; each may still be set by itself.

    What `paper` does not reproduce: a recommender that sees the future in training (no causal mask, no feed-forward
    layer; any backbone of ours is causal), the hosted model and its sampling (answers are greedy), a pool that is told
    in the order of the item table, user numbers shifted by one between files, users that vanish from the log because
    the call failed (they stay, without pseudo items), and mean-pooled BERT (the configured encoder stands in its
    place). The published values of M and T per corpus are not known; 12 and 7 are the scripts' traces.

    Attributes:
        mode: "default" = corrected and free of leakage; "paper" = as the official code does it.
        candidates: Where the pool comes from: a recommender that was trained on reversed sequences together with how
            alike titles are to those of the history, as the sentence encoder and a language model that is not asked
            represent them ("blended"); that recommender alone (paper); or, as controls, anything, what is popular, or
            what most users share with the user's items.
        n_candidates: |R|, size of the pool.
        exclude_seen: No training item of the user is a candidate (paper: it may be).
        n_items: M, most pseudo items of a user.
        max_items: Most items that a model which writes is asked for at once; smaller M are slices of its answer.
        selection: What picks from the pool: the language model, asked about every user; the pool's own rank; or, as
            controls, chance, or the similarity of titles to the user's own. "auto" is rank in a blended pool where the
            model's representations of titles can be had, which say more than its answers; else the model.
        answers: How the model answers. "branches": the probability of every title, from the places where titles part
            (one pass over the history); "titles": from whole titles (four times the cost, also on an exact server);
            "numbers": JSON that lists numbers; "names": free text, matched by the encoder (paper). "auto" is branches
            from a model that has probabilities, else numbers.
        mixing: The model's probabilities are joined with those of the pool, as much as recovering known items shows to
            help ("learned"), or stand alone ("model").
        shortfall: An answer that names too few is filled up from the recommender's rank, or stays shorter.
        order: The best next to the user's first item, the best farthest from it (paper), or any.
        n_recovery: |C|, candidates of the forward recommender for the hidden item.
        reliability: The similarity of the guess to the hidden item; its expectation under the probabilities of the
            candidates; or the probability of the hidden item among them, to which a model that is asked adds it.
        weights: What becomes of the raw reliability r: r itself; its percentile over users; 1 for a guess that hits.
        long_after: T, interactions (held-out ones too) beyond which a user is long.
        decay: beta, by which the weight of long users is multiplied.
        crossfit: Check with pseudo items that were selected without the hidden item; one more question per user.
        one_item: Users with one training item are checked on their pseudo items alone, or get the median weight.
        augment_up_to: Only users with so many interactions (held-out ones too) are augmented; all where absent.
        max_history: Most real items that a question tells, the latest.
        max_pseudo: Most pseudo items that a question tells on top, those next to the history.
        title_length: Most characters of a title in a question.
        sample_users: Users of whom recovery without pseudo items is tried too: it tells what these add (r - r0), and
            how to mix a model's probabilities, which takes one more question for each.
        sees_validation: The whole mender sees the validation item, which then is the hidden one (paper): leakage.
        max_new_tokens: Longest written answer.
        tuning: How the language model is tuned.
        seed: Of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["default", "paper"] = "default"
    candidates: Candidates = "blended"
    n_candidates: int = Field(default=20, ge=1)
    exclude_seen: bool = True
    n_items: int = Field(default=10, ge=1)
    max_items: int = Field(default=15, ge=1)
    selection: Selection = "auto"
    answers: AnswerForm = "auto"
    mixing: Literal["learned", "model"] = "learned"
    shortfall: Literal["fill", "shorter"] = "fill"
    order: Order = "best_last"
    n_recovery: int = Field(default=10, ge=1)
    reliability: Score = "similarity"
    weights: WeightMap = "raw"
    long_after: int = Field(default=7, ge=0)
    decay: float = Field(default=0.5, ge=0, le=1)
    crossfit: bool = False
    one_item: Literal["context", "median"] = "context"
    augment_up_to: int | None = Field(default=None, ge=0)
    max_history: int = Field(default=6, ge=1)
    max_pseudo: int = Field(default=4, ge=0)
    title_length: int = Field(default=32, ge=8, le=200)
    sample_users: int = Field(default=500, ge=0)
    sees_validation: bool = False
    max_new_tokens: int = Field(default=64, ge=1)
    tuning: AugmentTuningConfig = AugmentTuningConfig()
    seed: int = 0

    def asks(self, capability: Capability) -> bool:
        """Whether a language model of this kind is asked about users; else it reads titles, for a blended pool."""
        if self.selection == "auto":
            return self.candidates != "blended" or capability != "exact"
        return self.selection == "model"

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        return {**_PAPER, **values} if isinstance(values, dict) and values.get("mode") == "paper" else values
