"""The examiner: asks prompts about instances whose answer is known, each question once, and counts what it asks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from seqmend.errors import BudgetExceeded
from seqmend.menders.correct.labelled import Labelled
from seqmend.menders.correct.marks import Marks, mark, mark_at_best
from seqmend.menders.correct.prompt import Prompt
from seqmend.menders.correct.question import Asked, Teacher, Verdict
from seqmend.progress import Progress, silent

Pair = tuple[int, int]
"""An input and the target that it was wrongly judged with."""

_Key = tuple[str, Asked, tuple[str, ...]]


@dataclass(frozen=True)
class Errors:
    """What a prompt got wrong.

    Attributes:
        missing: Inputs that go with their target and were not named, each pair once, in the order of the rows.
        redundant: Inputs that were named and do not go with it.
        n_unreadable: Answers that could not be read; they name nothing and miss nothing.
        marks: Of all rows.
    """

    missing: list[Pair]
    redundant: list[Pair]
    n_unreadable: int
    marks: Marks

    @property
    def any(self) -> bool:
        """Whether there is something to criticise."""
        return bool(self.missing or self.redundant or self.n_unreadable)


class Examiner:
    """Asks a teacher with changing prompts and summaries.

    Args:
        teacher: Its own prompt and summaries are not used.
        progress: Told how many have their answer.
        at_best: Probabilities are marked at the threshold that is best on the rows at hand: models are biased towards
            yes or no, each wording in its own way, and what a wording is worth is how well it tells inputs apart.

    Attributes:
        asked: Questions asked so far, by stage; one that was asked before, of the same summaries, does not count.
    """

    def __init__(self, teacher: Teacher, progress: Progress = silent, at_best: bool = False) -> None:
        self.teacher = teacher
        self.at_best = at_best
        self.progress = progress
        self.asked: Counter[str] = Counter()
        self._known: dict[_Key, Verdict] = {}

    def marks(
        self,
        prompt: Prompt,
        memory: Mapping[int, str],
        rows: Labelled,
        stage: str,
        threshold: float | None = None,
    ) -> Marks:
        """Marks of a prompt on rows.

        Args:
            prompt: The wording.
            memory: The summaries.
            rows: Instances whose answer is known.
            stage: What the questions are counted under.
            threshold: Chosen on other rows; by default on these.

        Raises:
            BudgetExceeded: Some questions could not be asked.
        """
        return self._marked(self._verdicts(prompt, memory, rows.questions(), stage), rows, threshold)[0]

    def errors(self, prompt: Prompt, memory: Mapping[int, str], rows: Labelled, stage: str) -> Errors:
        """Errors of a prompt on rows.

        Raises:
            BudgetExceeded: Some questions could not be asked.
        """
        questions = rows.questions()
        marks, goes = self._marked(self._verdicts(prompt, memory, questions, stage), rows)
        missing: dict[Pair, None] = {}  # in order
        redundant: dict[Pair, None] = {}
        for question, named, relevant in zip(questions, goes, rows.relevant.tolist(), strict=True):
            for item, is_named, is_relevant in zip(question.inputs, named or relevant, relevant, strict=True):
                if is_named != is_relevant:
                    (missing if is_relevant else redundant)[item, question.target] = None
        return Errors(list(missing), list(redundant), goes.count(None), marks)

    def _marked(
        self, verdicts: Sequence[Verdict], rows: Labelled, threshold: float | None = None
    ) -> tuple[Marks, list[Sequence[bool] | None]]:
        """Marks of answers, and what they name."""
        told = [verdict.probabilities for verdict in verdicts if verdict.probabilities is not None]
        if not self.at_best or not told or len(told) < len(verdicts):
            goes = [verdict.goes for verdict in verdicts]
            return mark(rows.inputs, goes, rows.relevant), list(goes)
        probabilities = np.array(told)
        if threshold is None:
            marks = mark_at_best(rows.inputs, probabilities, rows.relevant)
        else:
            marks = replace(mark(rows.inputs, probabilities >= threshold, rows.relevant), threshold=threshold)
        return marks, (probabilities >= marks.threshold).tolist()

    def _verdicts(
        self, prompt: Prompt, memory: Mapping[int, str], questions: Sequence[Asked], stage: str
    ) -> list[Verdict]:
        keys = [
            (prompt.digest, one, tuple(memory.get(item, "") for item in (*one.inputs, one.target))) for one in questions
        ]
        new = list({key: None for key in keys if key not in self._known})
        if new:
            renderer = replace(self.teacher.renderer, prompt=prompt, memory=memory)
            teacher = replace(self.teacher, renderer=renderer)
            found = teacher.ask([one for _, one, _ in new], self.progress, "trying a prompt")
            self._known.update((key, one) for key, one in zip(new, found, strict=True) if one is not None)
            self.asked[stage] += len(found) - found.count(None)
            if None in found:
                raise BudgetExceeded("the budget is spent, a prompt could not be tried")
        return [self._known[key] for key in keys]
