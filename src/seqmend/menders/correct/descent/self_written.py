"""A corpus' own prompt: instances labelled from its log, start prompts in its words, and the descent from there."""

from pathlib import Path

import numpy as np

from seqmend.interactions import Sequences
from seqmend.menders.correct.attributes import Attributes
from seqmend.menders.correct.config import CorrectConfig
from seqmend.menders.correct.descent.gradient import Descent, LabelledParts, descend
from seqmend.menders.correct.descent.variants import choose_example, start_prompts
from seqmend.menders.correct.labelled import LabelledConfig, label
from seqmend.menders.correct.memory import Memory
from seqmend.menders.correct.question import Teacher
from seqmend.menders.correct.rules import AttributeRules, pick_rules
from seqmend.progress import Progress, silent


def label_parts(train: Sequences, config: CorrectConfig, attributes: Attributes | None = None) -> LabelledParts:
    """Instances of the training part with known answers, parted for a descent.

    Args:
        train: Training sequences.
        config: How many, and of what length.
        attributes: Noise shares none with its target.
    """
    settings = LabelledConfig(
        rows=config.textual_gradient.rows,
        max_length=config.max_length,
        balanced=config.mode == "default",
        seed=config.seed,
    )
    rows = label(train, settings, None if attributes is None else attributes.keys())
    return LabelledParts.of(rows, config.textual_gradient)


def write_prompt(
    teacher: Teacher,
    parts: LabelledParts,
    config: CorrectConfig,
    memory: Memory | None = None,
    path: Path | None = None,
    progress: Progress = silent,
) -> Descent:
    """Start from the eight prompts, their example taken from the training part, and descend (see `descend`).

    Args:
        teacher: Answers, criticises and rewrites.
        parts: See `label_parts`.
        config: The domain, and how.
        memory: Summaries; None = titles only.
        path: Of the transcript.
        progress: Told what is being tried.

    Raises:
        InputError: There are too few labelled rows.
    """
    example, rows = None, parts
    if (chosen := choose_example(parts.train, teacher.renderer.catalogue)) is not None and len(parts.train) > 1:
        number, example = chosen
        left = np.delete(np.arange(len(parts.train)), number)
        rows = LabelledParts(parts.train.select(left), parts.validation, parts.test)
    start, most_alike = start_prompts(config.domain, example), config.memory.most_alike
    return descend(teacher, start, rows, config.textual_gradient, config.domain, memory, most_alike, path, progress)


def choose_rules(
    teacher: Teacher,
    parts: LabelledParts,
    config: CorrectConfig,
    attributes: Attributes,
    progress: Progress = silent,
) -> AttributeRules:
    """Rules picked on the validation rows, or those of them that a budget allows, for the teacher as it is.

    Args:
        teacher: With the prompt and the summaries that it keeps.
        parts: See `label_parts`; labelled without attributes, for noise that was drawn to share none would make any
            rule look good.
        config: Which rules may be used.
        attributes: Of the columns that the rules are about.
        progress: Told how many rows have their answer.
    """
    verdicts = teacher.ask(parts.validation.questions(), progress, "choosing the rules on attributes")
    asked = [place for place, verdict in enumerate(verdicts) if verdict is not None]
    rows = parts.validation.select(np.array(asked, dtype=np.int64))
    return pick_rules(config.rules, attributes.keys(), rows, [v.goes for v in verdicts if v is not None])
