"""Arms of the augment studies: who gets which items before the history, and how much either channel counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.evaluation import Histories
from seqmend.interactions import Sequences
from seqmend.recommenders import BackboneConfig, Channels
from seqmend.study.arms import ArmData
from seqmend.study.augment_studies.proposals import Proposal, Proposer
from seqmend.study.augment_studies.setting import Setting
from seqmend.study.parallel import Pool
from seqmend.study.stages import RunDirectory
from seqmend.study.trainings import Training, begin_training, equal_steps, finish_training

AS_IS, MENDED = "as_is", "mended"
RAW, OURS, LLM_FREE = "raw", "mended", "llm_free"

Weights = Literal["own", "zero", "half", "one", "permuted"]
Ranks = dict[tuple[str, str, str], npt.NDArray[np.int64]]
"""int64 [S, M] by backbone, arm, and column of the ranks (a test history, or one with `@sampled`)."""


@dataclass(frozen=True)
class Way:
    """How an arm comes about.

    Attributes:
        source: Where the second channel comes from: nowhere, the sequence itself once more, ASReP, or the mender.
        changes: Of the mender's settings.
        with_model: Whether the language model selects and recovers.
        weights: w: the mender's own, the same for all, or the mender's dealt to other users.
        pseudo_targets: Whether pseudo items are predicted, too.
        needs: Readers of titles without which the arm would be another one under its name.
    """

    source: Literal["none", "original", "asrep", "mender"] = "mender"
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    with_model: bool = True
    weights: Weights = "own"
    pseudo_targets: bool = False
    needs: tuple[Literal["model", "encoder"], ...] = ()


ARMS: dict[str, Way] = {
    RAW: Way("none"),
    "duplicate": Way("original", weights="half"),
    "asrep": Way("asrep", weights="one", pseudo_targets=True),
    "top_m": Way(changes={"candidates": "reversed", "selection": "rank"}, with_model=False),
    "random_m": Way(changes={"candidates": "reversed", "selection": "random"}, with_model=False),
    LLM_FREE: Way(with_model=False),
    OURS: Way(needs=("model",)),
    "full_weight": Way(weights="one"),
    "permuted_weight": Way(weights="permuted"),
}
"""Arms of the main comparison; `full_weight` learns from the augmented channel alone."""

ABLATIONS: dict[str, Way] = {
    "half_weight": Way(weights="half"),
    "context_only": Way(weights="zero"),
    "random_pool": Way(changes={"candidates": "random"}),
    "popular_pool": Way(changes={"candidates": "popular"}),
    "neighbour_pool": Way(changes={"candidates": "neighbours"}),
    "recommender_pool": Way(changes={"candidates": "reversed", "selection": "rank"}),
    "asked": Way(changes={"selection": "model"}, needs=("model",)),
    "asked_of_recommender_pool": Way(changes={"candidates": "reversed", "selection": "model"}, needs=("model",)),
    "similar_titles": Way(changes={"selection": "similar"}, with_model=False, needs=("encoder",)),
    "seen_items": Way(changes={"exclude_seen": False}),
    "best_first": Way(changes={"order": "best_first"}),
    "random_order": Way(changes={"order": "random"}),
    "hit_weights": Way(changes={"weights": "hit"}),
    "rank_weights": Way(changes={"weights": "rank"}),
    "expected_similarity": Way(changes={"reliability": "expected"}),
    "probability": Way(changes={"reliability": "probability"}),
    "crossfit": Way(changes={"crossfit": True}),
    "model_alone": Way(changes={"candidates": "reversed", "selection": "model", "mixing": "model"}, needs=("model",)),
    "pseudo_targets": Way(pseudo_targets=True),
    "published": Way(changes={"mode": "paper"}, pseudo_targets=True, needs=("model", "encoder")),
}
"""One thing changed at a time; `context_only` learns as `raw` does and is shown the pseudo items at test time alone,
`published` is the official code's procedure with its leakage (and our dual channel)."""


def chosen_ways(names: Sequence[str] | None, all_ways: Mapping[str, Way], setting: Setting) -> dict[str, Way]:
    """The arms of the given names, with `raw` and the mender among them.

    Without a language model the mender is `llm_free`, which then bears its name alone. Arms whose readers the settings
    do not name are left out.

    Raises:
        InputError: No arm of that name, or one is asked for whose readers are not there.
    """
    known, language = {**ARMS, **all_ways}, setting.config.language
    there = {name for name in ("model", "encoder") if getattr(language, name) is not None}
    for name in names or ():
        if name not in known:
            raise InputError(f"no arm is called {name!r}", expected=", ".join(known))
        if missing := [need for need in known[name].needs if need not in there]:
            raise InputError(f"the arm {name!r} needs a reader of titles", fix=f"set language.{missing[0]}")
    wanted = [RAW, ours(setting), *(all_ways if names is None else names)]
    return {name: way for name, way in known.items() if name in wanted and there.issuperset(way.needs)}


def ours(setting: Setting) -> str:
    """Name of the mender's own arm."""
    return OURS if setting.config.language.model else LLM_FREE


def proposal_of(way: Way, proposer: Proposer) -> Proposal | None:
    """What an arm prepends; None where it has nothing of the kind."""
    if way.source == "asrep":
        return proposer.asrep()
    return proposer.proposed(dict(way.changes), with_model=way.with_model) if way.source == "mender" else None


def arm_data(setting: Setting, way: Way, proposal: Proposal | None) -> ArmData:
    """One version of the data, with both channels."""
    split, train = setting.split, setting.split.train
    as_is = {AS_IS: Histories.before(split.sequences, split.test)}
    ones = np.ones(train.n_interactions, dtype=np.float32)
    if proposal is None:
        share = 0.5 if way.source == "original" else 0.0
        weights = np.full(len(train), share, dtype=np.float32)
        return ArmData(train, ones, as_is, channels=Channels(train, weights, mean_over=setting.mean_over))
    longer = proposal.ledger.apply(train, "train")
    channels = Channels.of(longer, pseudo_targets=way.pseudo_targets, mean_over=setting.mean_over)
    channels = replace(channels, weights=_weights(channels, train, way.weights, setting.config.augment.seed))
    test = proposal.ledger.apply(split.sequences, "test")
    shown = Histories(test.sequences, split.test.users, test.lengths_before(split.test))
    valid = Histories.whole(longer.sequences, split.valid.users)
    return ArmData(train, ones, {**as_is, MENDED: shown}, channels=channels, valid=valid)


def begin_arms(
    directory: RunDirectory,
    workers: Pool,
    setting: Setting,
    arms: Mapping[str, ArmData],
    backbones: Sequence[BackboneConfig],
    proposer: Proposer,
) -> dict[tuple[str, str], list[Training]]:
    """Give all trainings to the workers: every backbone on every arm under every seed, with equally many steps.

    ASReP's goes on from the weights of the recommender that was trained on reversed sequences, where that is of the
    same kind.
    """
    held_out = setting.held_out()
    begun: dict[tuple[str, str], list[Training]] = {}
    for backbone in backbones:
        training = equal_steps(setting.config.training, backbone, setting.config.form, setting.split.train)
        for arm, data in arms.items():
            is_same = arm == "asrep" and backbone == setting.config.backbone
            start = proposer.reversed_weights() if is_same else None
            begun[backbone.name, arm] = [
                begin_training(
                    directory,
                    workers,
                    f"{backbone.name}-{arm}",
                    data,
                    held_out,
                    backbone,
                    setting.config.form,
                    training.model_copy(update={"seed": seed}),
                    start=start,
                )
                for seed in setting.config.seeds
            ]
    return begun


def finish_arms(directory: RunDirectory, begun: Mapping[tuple[str, str], list[Training]]) -> Ranks:
    """Wait for all trainings."""
    found: Ranks = {}
    for (backbone, arm), trainings in begun.items():
        by_seed: list[pl.DataFrame] = [finish_training(directory, training) for training in trainings]
        for column in by_seed[0].columns:
            found[backbone, arm, column] = np.stack([ranks[column].to_numpy() for ranks in by_seed])
    return found


def _weights(channels: Channels, train: Sequences, kind: Weights, seed: int) -> npt.NDArray[np.float32]:
    """w of every user, float32 [U]; 0 for users without pseudo items."""
    own, has_any = channels.weights, channels.augmented.lengths > train.lengths
    if kind == "permuted":
        dealt = own.copy()
        dealt[has_any] = np.random.default_rng(seed).permutation(own[has_any])
        return dealt
    if kind == "own":
        return own
    return has_any * np.float32({"zero": 0.0, "half": 0.5, "one": 1.0}[kind])
