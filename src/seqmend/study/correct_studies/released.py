"""`seqmend bench correct`: who tells which inputs go with a target, on released rows whose answer is known.

The rows are split by target item, so that no judge has seen the target of a test row; their inputs are shuffled, so
that the place of an input says nothing. What a judge's values are worth is learned on validation rows, for all judges
alike, and those inputs are named that promise the best F1. Intervals resample target items. Two further controls show
what a judge gains by knowing an item again: in rows of this kind the noise is drawn item by item without repetition, so
that an input which was met before is more likely a relevant one.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from seqmend import assets
from seqmend.errors import InputError
from seqmend.evaluation import mean_interval, paired_bootstrap
from seqmend.interactions import PADDING
from seqmend.llm import Encoder, Journal, JournaledModel, LanguageModel, LocalModel, SentenceEncoder
from seqmend.menders.correct import Labelled, Marks, Score, by_title, mark
from seqmend.menders.correct.config import CorrectTuningConfig
from seqmend.menders.correct.evidence import Weights, best_sets, by_attributes, features_of
from seqmend.menders.correct.tuning import InPlace, log_odds, tune
from seqmend.menders.correct.weighing import EVIDENCE, MODEL, weigh
from seqmend.progress import Progress, silent
from seqmend.study.correct_studies.released_rows import Released, read_released

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

N_PARTS = 3
RESAMPLES = 1000

ANSWER = "tuned model with evidence"
UNTUNED, TUNED = "untuned model", "tuned model"
TITLES, RULE, LEARNED = "title similarity", "attribute rule", "learned without model"
FREQUENCY, LEARNED_FREQUENCY = "input frequency", "learned with frequency"
ALL, NONE, SUMMARIES = "all", "none", "summary similarity"


@dataclass(frozen=True, eq=False)
class _Split:
    """The rows of one seed, and what every judge says of the test rows.

    Attributes:
        test: The rows that are measured on.
        unseen: Which of their inputs are in no training row, bool [R, L].
        said: Which inputs every judge names, bool [R, L] each.
        scores: What it goes by, float64 [R, L] each.
    """

    test: Labelled
    unseen: Bool
    said: dict[str, Bool]
    scores: dict[str, Float64]


def bench_correct(
    folder: Path,
    out: Path,
    *,
    model: str,
    encoder: Encoder,
    config: CorrectTuningConfig,
    seeds: tuple[int, ...] = (0,),
    max_rows: int | None = None,
    summaries: bool = False,
    evidence: bool = True,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Tune on some rows, ask about others, and compare with judges that need no language model, or no tuning.

    Args:
        folder: Has `synthetic_instances.parquet` and `items.parquet`.
        out: Keeps adapters and answers, so that the same call goes on where it was stopped.
        model: Name or folder of a language model.
        encoder: Of titles.
        config: How the model is tuned and asked.
        seeds: Of the split, and of the fit on it; figures are over all test rows of all seeds. Three in a row (from 0,
            3, ...) set every row aside once.
        max_rows: Take a random part of the rows.
        summaries: Judges may read the released summaries, which a larger model wrote.
        evidence: The answer weighs the tuned model with likeness of titles and attributes; else it is the model alone.
        progress: Told what is being done.

    Returns:
        The figures of the design's `bench correct` contract. Of every control also the `gain` over it: mean difference
        of F1, its interval and p-value.

    Raises:
        InputError: The folder cannot be used.
    """
    begin = time.perf_counter()
    released = read_released(folder, summaries, max_rows)
    words = InPlace(released.catalogue, released.attributes if config.tell_attributes else None)
    scores = _evidence(released, encoder, progress)
    local = LocalModel.load(assets.resolve(model, "model", progress), progress=progress)
    splits: list[_Split] = []
    with Journal(out / "journal.sqlite") as journal:
        for seed in seeds:
            settings = config.model_copy(update={"seed": seed, "lora": config.lora.model_copy(update={"seed": seed})})
            test, rest = _set_aside(released.rows, seed)
            if not len(test) or not len(rest):
                raise InputError(
                    f"{len(released.rows)} rows are too few to set some aside",
                    where=str(folder),
                    expected="rows of at least a dozen targets",
                )
            adapter = out / f"adapter-{seed}"
            fit, train, validation = tune(local, rest, words, adapter, settings, progress)
            tuned = LocalModel.load(assets.resolve(model, "model", progress), adapter=fit.folder, progress=progress)
            judges = {UNTUNED: local, TUNED: tuned}
            asked = {name: JournaledModel(one, journal, progress=progress) for name, one in judges.items()}
            splits.append(_judged(asked, words, train, validation, test, released, scores, settings, evidence))
    return {
        "folder": folder.name,
        "model": local.identity,
        "seeds": list(seeds),
        "answer": ANSWER if evidence else TUNED,
        **_figures(splits, ANSWER if evidence else TUNED, released),
        "n_rows": len(released.rows),
        "n_test_rows": sum(len(split.test) for split in splits),
        "n_targets": len(np.unique(released.rows.targets)),
        "attributes": released.columns,
        "summaries": summaries,
        "seconds": time.perf_counter() - begin,
    }


def bench_correct_by_name(
    folder: Path,
    model: str,
    out: Path | None,
    n_seeds: int,
    max_rows: int | None,
    summaries: bool,
    config: CorrectTuningConfig | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """`bench_correct` with the default encoder and seeds 0..n - 1; kept under `runs/bench` unless told otherwise."""
    encoder = SentenceEncoder.load(assets.resolve("minilm-l6", "encoder", progress))
    return bench_correct(
        folder,
        out or Path("runs") / "bench" / f"correct-{folder.resolve().name}",
        model=model,
        encoder=encoder,
        config=config or CorrectTuningConfig(),
        seeds=tuple(range(n_seeds)),
        max_rows=max_rows,
        summaries=summaries,
        progress=progress,
    )


def _set_aside(rows: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    """A third of the rows, and those of other targets."""
    number, part = divmod(seed, N_PARTS)
    test = rows.parted([round(len(rows) / N_PARTS)] * (N_PARTS - 1), number)[part]
    return test, rows.select(np.flatnonzero(~np.isin(rows.targets, test.targets)))


def _evidence(released: Released, encoder: Encoder, progress: Progress) -> dict[str, Score]:
    """What is known of two items without a language model, by name."""
    rows, catalogue = released.rows, released.catalogue
    used = np.unique(np.append(rows.inputs, rows.targets))
    used = used[used != PADDING]
    texts = {TITLES: [catalogue.prompt_titles[item] for item in used.tolist()]}
    if released.summaries is not None:
        texts[SUMMARIES] = [released.summaries[item] or catalogue.prompt_titles[item] for item in used.tolist()]
    found: dict[str, Score] = {}
    for name, own in texts.items():
        progress(f"embedding for {name}", 0, 0)
        vectors = encoder.embed(own)
        table = np.zeros((len(catalogue) + 1, vectors.shape[1]), dtype=np.float32)
        table[used] = vectors
        found[name] = by_title(table)
    return {**found, **(by_attributes(released.attributes) if released.attributes is not None else {})}


def _judged(
    models: Mapping[str, LanguageModel],
    words: InPlace,
    train: Labelled,
    validation: Labelled,
    test: Labelled,
    released: Released,
    scores: Mapping[str, Score],
    config: CorrectTuningConfig,
    evidence: bool,
) -> _Split:
    """What every judge says of the test rows of one split."""
    parts = {"validation": validation, "test": test}
    features = {name: features_of(rows, scores) for name, rows in parts.items()}
    learned = Weights.fit(features_of(train, scores), train.relevant)
    frequency = {"frequency": _by_frequency(train, len(released.catalogue))}
    with_frequency = Weights.fit(_without_itself(features_of(train, {**scores, **frequency})), train.relevant)

    def judged(part: str) -> dict[str, Float64]:
        rows, own = parts[part], features[part]
        said = {name: np.stack(log_odds(one, words, rows.questions(), config.orders)) for name, one in models.items()}
        often = features_of(rows, frequency)
        found = {**said, TITLES: own[TITLES], LEARNED: learned.log_odds(own), FREQUENCY: often["frequency"]}
        found[LEARNED_FREQUENCY] = with_frequency.log_odds({**own, **often})
        if released.attributes is not None:
            found[RULE] = _shared_values(own)
        if SUMMARIES in own:
            found[SUMMARIES] = own[SUMMARIES]
        return found

    valid, found = judged("validation"), judged("test")
    said = {name: _named(valid[name], validation, values) for name, values in found.items()}
    ask = partial(log_odds, models[TUNED], words, orders=config.orders)
    tuned = weigh(ask, train, validation, scores, evidence)
    if tuned.evidence is not None:
        found[ANSWER] = tuned.answers.log_odds({MODEL: found[TUNED], EVIDENCE: found[LEARNED]})
        said[ANSWER] = best_sets(expit(found[ANSWER]))
    said |= {ALL: np.ones(test.relevant.shape, dtype=bool), NONE: np.zeros(test.relevant.shape, dtype=bool)}
    return _Split(test, ~np.isin(test.inputs, train.inputs), said, found)


def _named(known: Float64, validation: Labelled, values: Float64) -> Bool:
    """The inputs that a judge names: its values become probabilities by what they were worth on validation rows."""
    return best_sets(Weights.fit({"": known}, validation.relevant).probabilities({"": values}))


def _shared_values(features: Mapping[str, Float64]) -> Float64:
    """Number of attribute values that an input shares with the target: the rule has a threshold and nothing else."""
    return sum((np.expm1(values) for name, values in features.items() if name.endswith("shared values")), np.array(0.0))


def _by_frequency(train: Labelled, n_items: int) -> Score:
    """How often an item is an input of a training row, whatever the target: no evidence of any relation."""
    counts = np.bincount(train.inputs.ravel(), minlength=n_items + 1)
    return lambda inputs, _: np.log1p(counts[inputs]).astype(np.float64)


def _without_itself(features: dict[str, Float64]) -> dict[str, Float64]:
    """Features of training rows, an input's own occurrence not counted: a test row's is not counted either."""
    return {**features, "frequency": np.log1p(np.maximum(np.expm1(features["frequency"]) - 1, 0))}


def _figures(splits: list[_Split], answer: str, released: Released) -> dict[str, Any]:
    """Figures of the answer, and of every other judge beside it."""
    targets = np.unique(np.concatenate([split.test.targets for split in splits]), return_inverse=True)[1]
    targets = targets.astype(np.int32)
    marks = {name: _marks(splits, name) for name in splits[0].said}

    def figures(name: str) -> dict[str, Any]:
        interval = mean_interval(marks[name].f1[None], np.random.default_rng(0), RESAMPLES, targets)
        return {**marks[name].means, "ci95": list(interval), **_ranking(splits, name)}

    controls: dict[str, Any] = {}
    for name in (UNTUNED, TUNED, TITLES, RULE, SUMMARIES, LEARNED, ALL, NONE, FREQUENCY, LEARNED_FREQUENCY):
        if name in marks and name != answer:
            f1, own = marks[answer].f1[None], marks[name].f1[None]
            gain = paired_bootstrap(f1, own, np.random.default_rng(0), RESAMPLES, targets)
            told = {"difference": gain.difference, "ci95": list(gain.ci95), "p_value": gain.p_value}
            controls[name] = {**figures(name), "gain": told}
    if released.attributes is None:
        reason = "no column of the items holds attributes"
        controls[RULE] = {**dict.fromkeys(("f1", "precision", "recall", "ci95")), "reason": reason}
    return {**figures(answer), "controls": controls}


def _marks(splits: list[_Split], name: str) -> Marks:
    parts = [mark(split.test.inputs, split.said[name], split.test.relevant) for split in splits]
    precision, recall, f1 = (
        np.concatenate([getattr(one, key) for one in parts]) for key in ("precision", "recall", "f1")
    )
    return Marks(precision, recall, f1)


def _ranking(splits: list[_Split], name: str) -> dict[str, float | None]:
    """AUROC over all inputs, and over those that no training row has: knowing an item again is no help there."""
    found: dict[str, float | None] = {}
    for key in ("auroc", "auroc_unseen"):
        values: list[float] = []
        for split in splits:
            where = split.unseen if key == "auroc_unseen" else np.ones_like(split.unseen)
            truth = split.test.relevant[where]
            if name in split.scores and 0 < truth.sum() < len(truth):
                values.append(float(roc_auc_score(truth, split.scores[name][where])))
        found[key] = float(np.mean(values)) if values else None
    return found
