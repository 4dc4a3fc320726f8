"""`seqmend bench correct-prompts`: what does each part of the question bring, and what does it live on?

The same instances are asked about in other words, without a part, in another order, or under other items' titles: what
is left then is not knowledge of the items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import Catalogue
from seqmend.menders.correct import Asked, Judge, Renderer, Teacher, Verdict, start_prompts
from seqmend.progress import Progress, silent
from seqmend.study.correct_studies.case import Case, Noise, identity, make_case, refuse_unusable
from seqmend.study.correct_studies.noise import about, beside, measured, over_repetitions
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.setting import Setting
from seqmend.study.parallel import pool
from seqmend.study.readers import load_readers

VARIANTS = (
    "no_profile",
    "no_plan",
    "strict",
    "titles_only",
    "shuffled_summaries",
    "shuffled_titles",
    "shuffled_order",
)


def correct_prompts(
    setting: Setting,
    noise: Noise,
    out: Path,
    *,
    backbone: str | None = None,
    variants: Sequence[str] = VARIANTS,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Ask about the same uncertain instances in every variant.

    Args:
        setting: The log and the settings.
        noise: Kind and ratio.
        out: Folder of the study.
        backbone: Whose doubts decide; by default the settings' own.
        variants: Of `VARIANTS`; those of summaries are left out where the question shows none.
        progress: Told what is being done.

    Returns:
        `quality` by variant ("model" is the question as it is) and group, figures over seeds; `beside`: the question as
        it is minus every variant, with intervals by user.

    Raises:
        InputError: An unknown variant, no model, or see `Setting.begin`.
    """
    if unknown := [variant for variant in variants if variant not in VARIANTS]:
        raise InputError(f"no variant is called {unknown[0]!r}", expected=", ".join(VARIANTS))
    refuse_unusable(setting, noise)
    if setting.config.correct.teacher == "lora":
        raise InputError("a tuned model is asked in one form alone", expected='teacher = "none" or "textual-gradient"')
    setting = _unweighed(setting)
    name = backbone or setting.config.backbone.name
    identity(setting, noise, 0, name)
    directory, config = setting.begin(out), setting.config
    readers = load_readers(config.language, out / "journal.sqlite", progress, needs=())
    repetitions: list[Repetition] = []
    with pool(1, progress) as workers:
        for seed in config.seeds:

            def make(seed: int = seed) -> Repetition:
                case = make_case(setting, noise, seed, name, readers, directory, workers, progress)
                return _measure(case, variants)

            key = [*identity(setting, noise, seed, name), list(variants)]
            repetitions.append(kept(directory, f"prompts-{seed}", key, make, ranked=False))
    directory.finish({})
    said = [repetition.figures for repetition in repetitions]
    return {
        "study": "correct-prompts",
        **setting.describe(),
        **about(setting),
        "noise": {"kind": noise[0], "ratio": noise[1]},
        "backbone": name,
        "quality": over_repetitions(said),
        "beside": beside(said),
    }


def _unweighed(setting: Setting) -> Setting:
    """Answers as they come: weighed with other evidence, which decides most, the question would hardly matter."""
    correct = setting.config.correct
    weighing = correct.weighing.model_copy(update={"evidence": False})
    correct = correct.model_copy(update={"weighing": weighing})
    return replace(setting, config=setting.config.model_copy(update={"correct": correct}))


@dataclass(frozen=True, eq=False)
class ShuffledOrder:
    """Asks a judge about the inputs in another order, and puts the answers back in theirs."""

    judge: Judge
    seed: int

    def ask(self, questions: Sequence[Asked], progress: Progress = silent, what: str = "") -> list[Verdict | None]:
        """See `Judge.ask`."""
        rng = np.random.default_rng(self.seed)
        orders = [rng.permutation(len(asked.inputs)).tolist() for asked in questions]
        shuffled = [
            Asked(tuple(asked.inputs[place] for place in order), asked.target)
            for asked, order in zip(questions, orders, strict=True)
        ]
        verdicts = self.judge.ask(shuffled, progress, what)
        return [_back(verdict, order) for verdict, order in zip(verdicts, orders, strict=True)]


def _back(verdict: Verdict | None, order: list[int]) -> Verdict | None:
    if verdict is None or verdict.goes is None:
        return verdict
    places = np.argsort(order).tolist()
    likely = verdict.probabilities
    return replace(
        verdict,
        goes=tuple(verdict.goes[place] for place in places),
        probabilities=None if likely is None else tuple(likely[place] for place in places),
    )


def _measure(case: Case, variants: Sequence[str]) -> Repetition:
    teacher = replace(case.corrector.teacher(case.train), bias=case.taught.bias)
    has_summaries = bool(teacher.renderer.memory)
    corrections = case.corrector.judge(case.train)
    by_variant = {"model": corrections}
    for variant in variants:
        if has_summaries or variant not in ("titles_only", "shuffled_summaries"):
            by_variant[variant] = case.corrector.judge(case.train, _varied(teacher, variant, case))
    _, figures, counts = measured(case, corrections, by_variant)
    return Repetition({"quality": figures, "counts": counts})


def _varied(teacher: Teacher, variant: str, of: Case) -> Judge:
    renderer = teacher.renderer
    rng = np.random.default_rng([of.seed, 2])
    match variant:
        case "no_profile":
            changed = replace(renderer, prompt=renderer.prompt.model_copy(update={"profile": ""}))
        case "no_plan":
            changed = replace(renderer, prompt=renderer.prompt.model_copy(update={"plan": ""}))
        case "strict":
            strict = start_prompts(of.config.correct.domain)[-1].restriction
            changed = replace(renderer, prompt=renderer.prompt.model_copy(update={"restriction": strict}))
        case "titles_only":
            changed = replace(renderer, memory={})
        case "shuffled_summaries":
            items = sorted(renderer.memory)
            dealt = rng.permutation(items).tolist()
            memory = {item: renderer.memory[other] for item, other in zip(items, dealt, strict=True)}
            changed = replace(renderer, memory=memory)
        case "shuffled_titles":
            changed = _under_other_titles(renderer, rng)
        case _:
            return ShuffledOrder(teacher, of.seed)
    return replace(teacher, renderer=changed)


def _under_other_titles(renderer: Renderer, rng: np.random.Generator) -> Renderer:
    """The titles dealt anew among the items that have one."""
    catalogue = renderer.catalogue
    titled = np.flatnonzero(catalogue.has_title)
    titles = catalogue.titles.to_list()
    dealt = {item: titles[other] for item, other in zip(titled.tolist(), rng.permutation(titled).tolist(), strict=True)}
    names = [dealt.get(item, title) for item, title in enumerate(titles)]
    return replace(renderer, catalogue=Catalogue(catalogue.item_ids, pl.Series("title", names, dtype=pl.String)))
