"""The language model before it is asked to correct: as it is, with a prompt that it wrote itself, or tuned by LoRA."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import logit

from seqmend import assets
from seqmend.errors import BudgetExceeded, InputError
from seqmend.interactions import Catalogue, Sequences, read_item_columns
from seqmend.llm import JournaledModel, LanguageModel, LocalModel, Usage, metered, title_vectors
from seqmend.menders.correct import (
    AskedScore,
    Attributes,
    CorrectConfig,
    Judge,
    KnownNoise,
    Labelled,
    LabelledConfig,
    LearnedScore,
    Prompt,
    Renderer,
    RuledJudge,
    Score,
    SilentJudge,
    Teacher,
    by_strangeness,
    by_title,
    choose_rules,
    corrupted,
    forecast_descent,
    label,
    label_parts,
    make_memory,
    pairwise,
    spoil,
    start_prompts,
    write_prompt,
)
from seqmend.menders.correct.evidence import by_attributes
from seqmend.menders.correct.tuning import InPlace, log_odds, tune
from seqmend.menders.correct.weighing import Weighed, WeighedJudge, weigh
from seqmend.progress import Progress
from seqmend.study.config import DataConfig, RunConfig
from seqmend.study.readers import Readers

TRANSCRIPT = "transcript.json"
"""The descent's transcript, in the folder that the model is taught in."""

MEMORY = "memory.parquet"
"""Summaries of items, likewise."""

_LEARNED = "learned"

Asker = Callable[[LanguageModel], Judge]


@dataclass(frozen=True, eq=False)
class Taught:
    """The language model as it will be asked.

    Attributes:
        model: With its adapter, where it was tuned.
        free: The strongest judge without a language model, from the same evidence; the control.
        prompt: Wording of the question.
        memory: Summaries by item number.
        bias: Of its yes by this prompt (see `Teacher`).
        asker: Who is asked instead of a teacher of this prompt; None = that teacher.
        unruled: The same without rules on attributes.
        weighed: How its answers are weighed; None where they are not.
        spent: What teaching has newly asked, by stage as in `teaching_calls`.
    """

    model: JournaledModel
    free: AskedScore
    prompt: Prompt = field(default_factory=Prompt)
    memory: Mapping[int, str] = field(default_factory=dict[int, str])
    bias: float = 0.0
    asker: Asker | None = None
    unruled: Asker | None = None
    weighed: Weighed | None = None
    spent: dict[str, Usage] = field(default_factory=dict[str, Usage])


def learn_company(config: RunConfig, train: Sequences, readers: Readers, progress: Progress) -> LearnedScore:
    """What goes with what in a log, by all that is known without a language model.

    Args:
        config: Of it the data and correct sections count.
        train: The log.
        readers: Whose sentence encoder reads titles, if there is one.
        progress: Told what is being done.

    Raises:
        InputError: The item file lacks a column of attributes.
    """
    correct = config.correct
    evidence = _evidence(train.catalogue, readers, item_attributes(config.data, train.catalogue, correct, progress))
    return LearnedScore.fit(train, correct.max_length, evidence, correct.seed)


def teach(
    config: RunConfig,
    train: Sequences,
    readers: Readers,
    company: LearnedScore,
    known: KnownNoise | None,
    folder: Path,
    progress: Progress,
) -> Taught:
    """Prepare the language model as the settings say; what was done before is taken from the folder and the journal.

    Args:
        config: Of it the data, language and correct sections count.
        train: What instances with known answers are made of.
        readers: With a language model.
        company: What goes with what in it.
        known: A copy of it whose noise is known, which tells how a tuned model's answers are weighed; without one,
            they are weighed with `company` on a copy that nothing else was learned from.
        folder: Where adapter and transcript are put.
        progress: Told what is being done.

    Raises:
        InputError: The item file lacks a column of attributes, or the log yields too few rows to learn from.
    """
    assert readers.model is not None
    correct, model = config.correct, readers.model
    attributes = item_attributes(config.data, train.catalogue, correct, progress)
    free = pairwise(company) if known is None else by_strangeness
    if correct.teacher == "lora":
        return _tuned(config, train, readers, attributes, company, known, folder, free, progress)
    memory, spent = None, dict[str, Usage]()
    if correct.memory.add_memory:
        chosen = np.unique(train.items).tolist()
        with metered(model.usage, spent, "summaries"):
            memory = make_memory(model, train.catalogue, chosen, attributes, correct.memory, correct.domain, progress)
    taught = Taught(model, free, memory=memory or {}, spent=spent)
    if correct.teacher == "textual-gradient":
        parts = label_parts(train, correct, attributes)
        teacher = teacher_of(taught, train, correct)
        with metered(model.usage, spent, "prompt"):
            found = write_prompt(teacher, parts, correct, memory, folder / TRANSCRIPT, progress)
        memory, threshold = found.memory, found.threshold
        bias = 0.0 if threshold is None else float(logit(threshold) - logit(correct.threshold))
        taught = Taught(model, free, found.prompt, memory, bias, spent=spent)
    if memory is not None:
        memory.write(folder / MEMORY, train.catalogue)
    taught = _weighed(taught, train, correct, known)
    return _ruled(taught, train, correct, attributes, progress)


def teaching_calls(correct: CorrectConfig, train: Sequences, model: LanguageModel) -> dict[str, int]:
    """The most that teaching asks, by stage, in a journal that knows nothing.

    "summaries": one per item; "prompt": the descent; "rules": validation rows; "weighing": rows of known noise.

    Args:
        correct: Settings.
        train: The log.
        model: Who will be asked.
    """
    descent = correct.textual_gradient
    if correct.teacher == "lora":
        tuning = correct.tuning
        n_rows = correct.weighing.rows if correct.weighing.evidence else round(tuning.validation_share * tuning.rows)
        return {"weighing": n_rows * tuning.orders}
    calls: dict[str, int] = {}
    if correct.memory.add_memory and correct.memory.written_by == "model":
        calls["summaries"] = int(train.catalogue.has_title[np.unique(train.items)].sum())
    sizes = [min(n, descent.rows // 4) for n in (descent.n_validation, descent.n_test)]
    if correct.teacher == "textual-gradient":
        n_train = descent.rows - sum(sizes)
        n_start = len(start_prompts(correct.domain))
        told = forecast_descent(descent, n_start, n_train, *sizes, with_memory=correct.memory.add_memory)
        calls["prompt"] = sum(told.values())
    if _has_rules(correct):
        calls["rules"] = sizes[0]
    elif _is_weighed(correct, Teacher(model, Renderer(Prompt(), train.catalogue), correct.answers)):
        calls["weighing"] = correct.weighing.rows
    return calls


def refuse_unteachable(config: RunConfig) -> None:
    """Raise an `InputError` for a model that there is not, or that cannot be tuned, before anything is written."""
    if config.language.model is None:
        raise InputError("correcting asks a language model, and there is none", fix="name one with --model")
    if config.correct.teacher == "lora" and config.language.served_model is not None:
        raise InputError(
            "a served model cannot be tuned",
            where=config.language.model,
            expected='a model in this process, or teacher = "none" or "textual-gradient"',
        )


def item_attributes(
    data: DataConfig, catalogue: Catalogue, correct: CorrectConfig, progress: Progress
) -> Attributes | None:
    """The key attributes that the settings name; None where they name none.

    Raises:
        InputError: There is no item file, or it lacks a column.
    """
    if not correct.rules.columns:
        return None
    path = assets.resolve(data.corpus, "corpus", progress) / "items.item" if data.corpus else data.items
    if path is None:
        raise InputError(
            "attributes stand in the item file, and there is none",
            where="correct.rules.columns",
            fix="give --items FILE, or leave the columns out",
        )
    items = read_item_columns(
        path, correct.rules.columns, columns=data.columns(), delimiter=data.delimiter, encoding=data.encoding
    )
    return Attributes.from_frame(items, catalogue, correct.rules.columns, correct.rules.separator)


def teacher_of(taught: Taught, train: Sequences, correct: CorrectConfig, model: LanguageModel | None = None) -> Teacher:
    """The model asked by its prompt."""
    return Teacher(
        model or taught.model,
        Renderer(taught.prompt, train.catalogue, taught.memory),
        correct.answers,
        correct.threshold,
        correct.unreadable == "none",
        correct.max_new_tokens,
        taught.bias,
    )


def _weighed(taught: Taught, train: Sequences, correct: CorrectConfig, known: KnownNoise | None) -> Taught:
    """With answers that are weighed with how strange an input is, where the model tells probabilities."""
    teacher = teacher_of(taught, train, correct)
    rows = _known_rows(known, correct) if known is not None and _is_weighed(correct, teacher) else None
    if known is None or not rows:
        if not taught.bias:
            return taught
        plain = partial(teacher_of, taught, train, correct)
        return replace(taught, asker=plain, unruled=plain)
    try:
        with metered(taught.model.usage, taught.spent, "weighing"):
            found = weigh(teacher.log_odds, rows, rows, {}, evidence=True)
    except BudgetExceeded:
        return replace(taught, asker=_unasked, unruled=_unasked)

    def asker(model: LanguageModel) -> Judge:
        said = teacher_of(taught, train, correct, model).log_odds
        return WeighedJudge(said, found, {}, known.strangers, correct.threshold, correct.weighing.ask == "all")

    return replace(taught, asker=asker, unruled=asker, weighed=found)


def _unasked(model: LanguageModel) -> Judge:
    """Nobody is asked where the budget ends before it is known what the answers are worth."""
    del model
    return SilentJudge()


def _is_weighed(correct: CorrectConfig, teacher: Teacher) -> bool:
    """Whether answers by a prompt are weighed: not those that are written, nor those that rules change."""
    return bool(correct.known_noise) and correct.weighing.evidence and not teacher.writes and not _has_rules(correct)


def _has_rules(correct: CorrectConfig) -> bool:
    return bool(correct.rules.columns) and (correct.rules.drop or correct.rules.add)


def _known_rows(known: KnownNoise, correct: CorrectConfig) -> Labelled | None:
    """Instances of the copy whose noise is known, to weigh answers on."""
    settings = LabelledConfig(rows=correct.weighing.rows, max_length=correct.max_length, seed=correct.seed)
    skip_doubted = correct.doubted == "drop" and correct.stages != "inputs"
    return known.rows(settings, correct.uncertain_share, skip_doubted=skip_doubted)


def _evidence(catalogue: Catalogue, readers: Readers, attributes: Attributes | None) -> dict[str, Score]:
    """What two items say of each other beside who chose them: shared attributes, likeness of titles."""
    scores: dict[str, Score] = {} if attributes is None else by_attributes(attributes)
    if readers.encoder is not None:
        scores["title"] = by_title(title_vectors(readers.encoder, catalogue))
    return scores


def _ruled(
    taught: Taught, train: Sequences, correct: CorrectConfig, attributes: Attributes | None, progress: Progress
) -> Taught:
    """With rules on attributes, where they may be used."""
    if attributes is None or not _has_rules(correct):
        return taught
    parts = label_parts(train, correct)  # noise that was drawn to share no attribute would make any rule look good
    with metered(taught.model.usage, taught.spent, "rules"):
        rules = choose_rules(teacher_of(taught, train, correct), parts, correct, attributes, progress)

    def asker(model: LanguageModel) -> Judge:
        return RuledJudge(teacher_of(taught, train, correct, model), rules.after)

    return replace(taught, asker=asker)


def _tuned(
    config: RunConfig,
    train: Sequences,
    readers: Readers,
    attributes: Attributes | None,
    company: LearnedScore,
    known: KnownNoise | None,
    folder: Path,
    free: AskedScore,
    progress: Progress,
) -> Taught:
    """Tuned to the question on instances of the log whose answer is known.

    Its answers are weighed with the evidence on other instances: what the first are labelled by is no evidence there.
    """
    correct = config.correct
    assert readers.model is not None
    assert config.language.model is not None
    base = readers.model.model
    assert isinstance(base, LocalModel)
    settings = LabelledConfig(rows=correct.tuning.rows, max_length=correct.max_length, seed=correct.seed)
    balanced = settings.model_copy(update={"balanced": True})
    rows = label(train, balanced, None if attributes is None else attributes.keys())
    words = InPlace(train.catalogue, attributes if correct.tuning.tell_attributes else None)
    fit, learned_from, validation = tune(base, rows, words, folder / "adapter", correct.tuning, progress)
    resolved = assets.resolve(config.language.model, "model", progress)
    tuned = LocalModel.load(resolved, adapter=fit.folder, progress=progress)
    given = readers.model
    model = JournaledModel(tuned, given.journal, given.budget, progress=progress, account=given.account)
    tuning, weighing, spent = correct.tuning, correct.weighing, dict[str, Usage]()
    scores: dict[str, Score] = {}
    of_weighing = _known_rows(known, correct) if weighing.evidence and known is not None else None
    said = partial(log_odds, model, words, orders=tuning.orders)
    strangers = known.strangers if known is not None and of_weighing else None
    try:
        with metered(model.usage, spent, "weighing"):
            if of_weighing:
                found = weigh(said, of_weighing, of_weighing, {}, evidence=True)
            elif weighing.evidence:
                spoiled, is_noise = spoil(train, weighing.noise, correct.seed)
                of_weighing = corrupted(spoiled, is_noise, settings.model_copy(update={"rows": weighing.rows}))
                there = LearnedScore.fit(spoiled, correct.max_length, company.scores, correct.seed)
                found = weigh(said, of_weighing, of_weighing, {_LEARNED: there.log_odds}, evidence=True)
                scores = {_LEARNED: company.log_odds}
            else:
                found = weigh(said, learned_from, validation, {}, evidence=False)
    except BudgetExceeded:
        return Taught(model, free, asker=_unasked, unruled=_unasked, spent=spent)

    def asker(given: LanguageModel) -> Judge:
        said = partial(log_odds, given, words, orders=tuning.orders)
        return WeighedJudge(said, found, scores, strangers, correct.threshold, weighing.ask == "all")

    return Taught(model, free, asker=asker, unruled=asker, weighed=found, spent=spent)
