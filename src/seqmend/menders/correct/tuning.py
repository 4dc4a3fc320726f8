"""A gradient for small models: the local model is tuned by LoRA to the correction question, on rows with known answers.

A small model cannot criticise a prompt, but it can learn the question. It is asked in the shortest form that there is:
the target, then the inputs one after the other, and behind each of them the probability of yes against no. An instance
is one pass over some sixty tokens, where the long form costs hundreds. What an input's place could give away is taken
from it: rows are shown in several orders, and asked about in several.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import Catalogue
from seqmend.llm import Adaptation, Judged, LanguageModel, LocalModel, Question, adapt
from seqmend.menders.correct.attributes import Attributes
from seqmend.menders.correct.config import CorrectTuningConfig
from seqmend.menders.correct.labelled import Labelled
from seqmend.menders.correct.question import Asked, log_odds_of
from seqmend.menders.correct.uncertain import Float64
from seqmend.progress import Progress, silent

_MAX_TOLD = 160
"""Characters of an item's attributes in a question, which is to stay short."""


@dataclass(frozen=True)
class InPlace:
    """The question in its shortest form.

    Attributes:
        catalogue: The titles.
        attributes: What is told of an item beside its title.
    """

    catalogue: Catalogue
    attributes: Attributes | None = None

    def question(self, inputs: Sequence[int], target: int) -> Question:
        """Which inputs go with the target? A yes or no is read where each of them ends."""
        choices = tuple(f"\n{self._told(item)}:" for item in inputs)
        return Question(f"{self._told(target)}\nWhich of these go with it, yes or no?", choices, "in_place")

    def _told(self, item: int) -> str:
        title = f'"{self.catalogue.prompt_titles[item]}"'
        told = "" if self.attributes is None else self.attributes.text(item)[:_MAX_TOLD]
        return f"{title} ({told})" if told else title


def log_odds(model: LanguageModel, words: InPlace, questions: Sequence[Asked], orders: int) -> list[Float64]:
    """The model's log-odds that each input goes with its target, float64 [n inputs] per question.

    Args:
        model: Any that answers questions in place.
        words: The question.
        questions: Any number.
        orders: The mean is over so many orders of the inputs: as they stand, reversed, and turned around.
    """
    placed = [list(_orders(len(asked.inputs), orders)) for asked in questions]
    asked_in_orders = [
        words.question([asked.inputs[at] for at in order], asked.target)
        for asked, own in zip(questions, placed, strict=True)
        for order in own
    ]
    answers = iter(model.choose(asked_in_orders))
    found: list[Float64] = []
    for asked, own in zip(questions, placed, strict=True):
        total = np.zeros(len(asked.inputs))
        for order in own:
            total[order] += log_odds_of(next(answers).probabilities)
        found.append(total / len(own))
    return found


def _orders(n: int, orders: int) -> Iterator[list[int]]:
    for number in range(orders):
        turned = [(at + number // 2) % n for at in range(n)]
        yield turned[::-1] if number % 2 else turned


def tune(
    model: LocalModel,
    rows: Labelled,
    words: InPlace,
    folder: Path,
    config: CorrectTuningConfig,
    progress: Progress = silent,
) -> tuple[Adaptation, Labelled, Labelled]:
    """Fit an adapter that knows the question; one that was made of the same is returned as it is.

    Args:
        model: The untuned model.
        rows: Instances whose answer is known.
        words: The question.
        folder: Where the adapter is put.
        config: How to fit.
        progress: Told the steps.

    Returns:
        The adapter, the rows that it was tuned on, and the rows of other targets that stopped the fit.

    Raises:
        InputError: There are too few targets to hold some out.
    """
    validation, train = rows.parted([round(config.validation_share * len(rows))], config.seed)
    if not len(train) or not len(validation):
        raise InputError(
            f"{len(rows)} instances with known answers are too few to tune the language model",
            expected="rows of several targets, so that some can be held out",
        )
    rng = np.random.default_rng([config.seed, 1])
    examples = [one for _ in range(config.copies) for one in _judged(train, words, rng)]
    held_out = _judged(validation, words, rng)
    return adapt(model, examples, held_out, folder, config.lora, progress), train, validation


def _judged(rows: Labelled, words: InPlace, rng: np.random.Generator) -> list[Judged]:
    """Every row as an example, its inputs in a random order."""
    found: list[Judged] = []
    for asked, relevant in zip(rows.questions(), rows.relevant.tolist(), strict=True):
        order = rng.permutation(len(asked.inputs)).tolist()
        question = words.question([asked.inputs[at] for at in order], asked.target)
        found.append(Judged(question, tuple(relevant[at] for at in order)))
    return found
