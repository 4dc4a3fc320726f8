"""Textual gradient descent: the prompt improves by the model's own criticism of its errors (LLM4RSR, section 3.6).

Everything random follows from the seed, so that a killed descent goes on from the model's journal: what was answered is
not asked again, and the same prompts come out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqmend.errors import BudgetExceeded, InputError
from seqmend.menders.correct.config import TextualGradientConfig
from seqmend.menders.correct.descent.cost import forecast_descent, race_plan
from seqmend.menders.correct.descent.critic import MODULES, Critic, Reasons
from seqmend.menders.correct.descent.examiner import Errors, Examiner, Pair
from seqmend.menders.correct.descent.transcript import Attempt, Epoch, Means, Rewrite, Rung, Transcript
from seqmend.menders.correct.labelled import Labelled
from seqmend.menders.correct.marks import mark
from seqmend.menders.correct.memory import Memory
from seqmend.menders.correct.prompt import Prompt
from seqmend.menders.correct.question import Teacher
from seqmend.menders.correct.summaries import believable
from seqmend.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class LabelledParts:
    """Instances whose answer is known, in parts that share no target.

    Attributes:
        train: Errors are looked for and prompts selected on them.
        validation: Tell which prompt is kept.
        test: Nothing is chosen by them.
    """

    train: Labelled
    validation: Labelled
    test: Labelled

    @classmethod
    def of(cls, rows: Labelled, config: TextualGradientConfig) -> "LabelledParts":
        """Parts of the configured sizes, none larger than a quarter."""
        most = len(rows) // 4
        sizes = [min(size, most) for size in (config.n_validation, config.n_test)]
        validation, test, train = rows.parted(sizes, config.seed)
        return cls(train, validation, test)


@dataclass(frozen=True)
class Descent:
    """What a descent found.

    Attributes:
        prompt: The best on the validation rows; a start prompt unless another is better.
        memory: The summaries that it is best with.
        transcript: How it came to that.
        threshold: Probability from which it names inputs best; None where that was not looked for.
    """

    prompt: Prompt
    memory: Memory
    transcript: Transcript
    threshold: float | None = None


def descend(
    teacher: Teacher,
    start: Sequence[Prompt],
    rows: LabelledParts,
    config: TextualGradientConfig,
    domain: str = "items",
    memory: Memory | None = None,
    most_alike: float = 0.8,
    path: Path | None = None,
    progress: Progress = silent,
) -> Descent:
    """Improve the prompt of the correction question.

    A spent budget ends it with the best prompt so far. So does a model that criticises uselessly: another prompt is
    kept only if its mean F1 on the validation rows is higher than that of the best start prompt.

    Args:
        teacher: Answers, criticises and rewrites; its own prompt and summaries are not used.
        start: The pool to start from, the preferred first.
        rows: Instances whose answer is known.
        config: How.
        domain: What the items are, in the plural.
        memory: Summaries to tell, and to rewrite; None = titles only.
        most_alike: See `MemoryConfig`.
        path: Where the transcript is written after every epoch, as JSON.
        progress: Told how much has been asked, of the most that is.

    Raises:
        InputError: There are no start prompts, or no rows to learn from.
    """
    if not start:
        raise InputError("there is no prompt to start from")
    if not len(rows.train) or (config.mode == "default" and not len(rows.validation)):
        raise InputError(
            f"too few labelled instances: {len(rows.train)} to learn from, {len(rows.validation)} for validation",
            expected="a log in which at least some items are often chosen by the same people",
            fix='set teacher = "none", or ask for more or less strictly labelled rows',
        )
    run = _Run(teacher, list(dict.fromkeys(start)), rows, config, domain, memory, most_alike, path, progress)
    return run.whole()


class _Run:
    """One descent, and where it stands."""

    def __init__(
        self,
        teacher: Teacher,
        start: list[Prompt],
        rows: LabelledParts,
        config: TextualGradientConfig,
        domain: str,
        memory: Memory | None,
        most_alike: float,
        path: Path | None,
        progress: Progress,
    ) -> None:
        self.rows, self.config, self.path, self.progress = rows, config, path, progress
        self.has_memory, self.most_alike = memory is not None, most_alike
        self.memory = memory or Memory()
        self.pool = start
        self.best = start[0]
        self.best_f1 = -1.0
        self.thresholds: dict[str, float | None] = {}
        self.examiner = Examiner(teacher, self._tell, config.at_best)
        catalogue = teacher.renderer.catalogue
        self.titles = catalogue.prompt_titles
        self.critic = Critic(teacher.model, catalogue, domain, config.max_new_tokens, config.n_shown)
        sizes = {"train": len(rows.train), "validation": len(rows.validation), "test": len(rows.test)}
        forecast = forecast_descent(
            config, len(start), sizes["train"], sizes["validation"], sizes["test"], self.has_memory
        )
        parts = {"validation": rows.validation, "test": rows.test}
        blind = {name: _blind(part) for name, part in parts.items() if len(part)}
        self.transcript = Transcript(teacher.model.identity, config.mode, domain, sizes, forecast, blind)
        self.order = np.random.default_rng(config.seed).permutation(sizes["train"])

    @property
    def is_paper(self) -> bool:
        return self.config.mode == "paper"

    def whole(self) -> Descent:
        """All epochs, unless patience or the budget ends them."""
        told, flat = self.transcript, 0
        try:
            self._begin()
            for number in range(1, self.config.epochs + 1):
                before = self.best_f1
                epoch = Epoch(number)
                told.epochs.append(epoch)
                try:
                    self._epoch(epoch)
                finally:
                    epoch.best = self.best.digest
                    self._note()
                flat = flat + 1 if self.best_f1 <= before else 0
                if not self.is_paper and self.config.patience is not None and flat >= self.config.patience:
                    told.ended_by = "patience"
                    break
            told.best = self.best.digest
            for digest, prompt in {told.best_start: self.start, told.best: self.best}.items():
                found = self.examiner.marks(prompt, self.memory, self.rows.test, "test", self.thresholds.get(digest))
                told.test[digest] = found.means
        except BudgetExceeded:
            told.ended_by = "budget"
        told.best = self.best.digest
        self._note()
        return Descent(self.best, self.memory, told, self.thresholds.get(self.best.digest))

    def _begin(self) -> None:
        """Marks of the start prompts, of which the best is kept until there is a better one."""
        self.start = self.best
        self.transcript.best_start = self.start.digest
        for prompt in self.pool:
            self.transcript.add(prompt, "start")
        if len(self.rows.validation):
            for prompt in self.pool:
                self.transcript.start[prompt.digest] = self._validated(prompt, "start")
            self.start = self.best
            self.transcript.best_start = self.start.digest

    def _epoch(self, epoch: Epoch) -> None:
        for_errors, for_race = self._drawn(epoch.number)
        errors = [self.examiner.errors(p, self.memory, for_errors, "errors") for p in self.pool]
        edited = self._edited(epoch, errors)
        if self.has_memory and self.config.n_memory_pairs:
            self._rewrite(epoch, errors)
        beam = self._raced(epoch, list(dict.fromkeys([*self.pool, *edited])), for_race)
        epoch.beam = [prompt.digest for prompt in beam]
        if self.is_paper:
            self.best = beam[0]
        elif len(self.rows.validation):
            for prompt in beam:
                epoch.validation[prompt.digest] = self._validated(prompt, "validation")
        others = self.critic.paraphrases(beam)
        for old, new in zip(beam, others, strict=True):
            self.transcript.add(new, "paraphrase", old)
            epoch.paraphrases[old.digest] = new.digest
        self.pool = list(dict.fromkeys([*beam, *others]))
        if self.is_paper:
            for prompt in self.pool:
                marks = self.examiner.marks(prompt, self.memory, self.rows.test, "test")
                epoch.test[prompt.digest] = marks.means

    def _drawn(self, number: int) -> tuple[Labelled, Labelled]:
        """Rows for errors and for selection: epoch by epoch the next ones, and the first again after the last."""
        n_train, config = len(self.order), self.config
        n_errors, n_race = min(config.n_error_rows, n_train), min(config.n_select_rows, n_train)
        begin = (number - 1) * (n_errors + n_race)
        drawn = self.order[(begin + np.arange(n_errors + n_race)) % n_train]
        return self.rows.train.select(drawn[:n_errors]), self.rows.train.select(drawn[n_errors:])

    def _edited(self, epoch: Epoch, errors: list[Errors]) -> list[Prompt]:
        """New prompts from the reasons of the errors of the pool's."""
        epoch.attempts = [
            Attempt(
                prompt.digest,
                found.marks.means,
                self.critic.titles(found.missing),
                self.critic.titles(found.redundant),
                found.n_unreadable,
            )
            for prompt, found in zip(self.pool, errors, strict=True)
        ]
        places = [place for place, found in enumerate(errors) if found.any]
        reasons = self.critic.reasons([(self.pool[place], errors[place]) for place in places])
        for place, told in zip(places, reasons, strict=True):
            epoch.attempts[place].reasons = {module: told[module] for module in MODULES}
        used: list[Reasons] = [{**told, "profile": told["plan"]} for told in reasons] if self.is_paper else reasons
        edited = self.critic.edits([(self.pool[place], told) for place, told in zip(places, used, strict=True)])
        for place, new in zip(places, edited, strict=True):
            if new != self.pool[place]:
                self.transcript.add(new, "edit", self.pool[place])
                epoch.attempts[place].edited = new.digest
        return edited

    def _rewrite(self, epoch: Epoch, errors: list[Errors]) -> None:
        """Rewrite the summaries of the pairs that most prompts err on; kept where validation does not fall.

        In the paper's mode the summaries are criticised and stay as they are.
        """
        missing: set[Pair] = {pair for found in errors for pair in found.missing}
        counts = Counter(pair for found in errors for pair in (*found.missing, *found.redundant))
        pairs = [pair for pair, _ in counts.most_common(self.config.n_memory_pairs)]
        reasons = self.critic.reasons_of_pairs(pairs, missing, self.memory)
        for pair, reason in zip(pairs, reasons, strict=True):
            kind = "missing" if pair in missing else "redundant"
            item, target = pair
            rewrite = Rewrite(self.titles[item], self.titles[target], kind, self._summaries(pair), reason)
            epoch.rewrites.append(rewrite)
        if self.is_paper:
            return
        # All are written before any is tried, from the summaries that the errors were made with.
        texts = self.critic.rewrites(pairs, missing, self.memory, reasons)
        for pair, after, rewrite in zip(pairs, texts, epoch.rewrites, strict=True):
            self._try_rewrite(pair, after, rewrite)

    def _try_rewrite(self, pair: Pair, after: tuple[str, str], rewrite: Rewrite) -> None:
        new = {item: text for item, text in zip(pair, after, strict=True) if text and text != self.memory.get(item)}
        texts = {**self.memory, **new}
        good = believable(texts, {item: self.titles[item] for item in texts}, self.memory, self.most_alike)
        new = {item: text for item, text in new.items() if item in good}
        if not new:
            return
        memory = self.memory.rewritten(new)
        marks = self.examiner.marks(self.best, memory, self.rows.validation, "memory")
        f1 = marks.means["f1"]
        rewrite.after = (memory.get(pair[0], ""), memory.get(pair[1], ""))
        rewrite.f1_before, rewrite.f1_after, rewrite.kept = self.best_f1, f1, f1 >= self.best_f1
        if rewrite.kept:
            self.memory, self.best_f1, self.thresholds[self.best.digest] = memory, f1, marks.threshold

    def _raced(self, epoch: Epoch, prompts: list[Prompt], rows: Labelled) -> list[Prompt]:
        """The beam, the best first; of equally good prompts the earlier."""
        config = self.config
        for n_prompts, n_rows in race_plan(len(prompts), config.beam, len(rows), config.race):
            some = rows.select(np.arange(n_rows))
            left = prompts[:n_prompts]
            scores = [self.examiner.marks(p, self.memory, some, "selection").means[config.select_by] for p in left]
            epoch.race.append(Rung(n_rows, dict(zip([p.digest for p in left], scores, strict=True))))
            prompts = [left[place] for place in np.argsort(-np.array(scores), kind="stable").tolist()]
        return prompts[: config.beam]

    def _validated(self, prompt: Prompt, stage: str) -> Means:
        """Marks on the validation rows; the prompt is kept if it is better than the best so far."""
        marks = self.examiner.marks(prompt, self.memory, self.rows.validation, stage)
        means, self.thresholds[prompt.digest] = marks.means, marks.threshold
        if means["f1"] > self.best_f1:
            self.best, self.best_f1 = prompt, means["f1"]
        return means

    def _tell(self, what: str, done: int, total: int) -> None:
        """Of the whole descent, while the examiner has asked `done` of some questions."""
        asked = self.examiner.asked.total() + self.critic.asked.total()
        self.progress("improving the prompt", asked + done, sum(self.transcript.forecast.values()))

    def _summaries(self, pair: Pair) -> tuple[str, str]:
        return self.memory.get(pair[0], ""), self.memory.get(pair[1], "")

    def _note(self) -> None:
        self.transcript.asked = dict(self.examiner.asked + self.critic.asked)
        if self.path is not None:
            self.transcript.write(self.path)


def _blind(rows: Labelled) -> dict[str, Means]:
    """Marks of naming all inputs, and none."""
    said = {"all": np.ones_like(rows.relevant), "none": np.zeros_like(rows.relevant)}
    return {name: mark(rows.inputs, named, rows.relevant).means for name, named in said.items()}
