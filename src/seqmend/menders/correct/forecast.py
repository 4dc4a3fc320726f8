"""What correcting would ask a language model: exactly for the first question, within bounds for the second."""

from dataclasses import dataclass, replace

from seqmend.interactions import PADDING, Sequences
from seqmend.llm import CountingModel, Pace, Usage
from seqmend.menders.correct.mender import Corrector
from seqmend.menders.correct.question import Asked

_PROBED = 16


@dataclass(frozen=True)
class Part:
    """Questions of one stage: the least and the most that will be asked, seconds not counted.

    Attributes:
        stage: "calibration", "inputs" or "targets", as in `Corrector.spent`.
        least: Where every instance keeps its target.
        most: Where no candidate of any instance fits.
    """

    stage: str
    least: Usage
    most: Usage


def forecast(corrector: Corrector, sequences: Sequences, model: CountingModel) -> list[Part]:
    """What `corrector.judge` would ask, in a journal that knows nothing (LLM4RSR, section 7 of our account of it).

    N_U questions about inputs; then, with a share r of instances that no input fits and k candidates tried of each,
    N_U r k about targets, where r and k are known afterwards only.

    Args:
        corrector: Fitted.
        sequences: Of the instances.
        model: Counts. It shall have the capability of the model that is meant.
    """
    config, teacher = corrector.config, corrector.judge_of(sequences, model)
    uncertain = [one for one in corrector.uncertain(sequences) if one.action == "open"]
    before = Usage()

    def noted() -> Usage:
        used = model.usage.minus(before)
        before.add(used)
        return used

    teacher.ask([one.question() for one in uncertain if not one.is_doubted])
    inputs = noted()
    if config.stages == "inputs" or not config.n_candidates:
        return [Part("inputs", inputs, inputs)]
    proposed = corrector.candidates(uncertain, sequences).tolist()
    teacher.ask(
        [
            one.question(target)
            for one, targets in zip(uncertain, proposed, strict=True)
            for target in targets
            if target != PADDING
        ]
    )
    return [Part("inputs", inputs, inputs), Part("targets", Usage(), noted())]


def pace(corrector: Corrector, sequences: Sequences, counting: CountingModel) -> Pace | None:
    """Measured on the first questions, whose answers are kept; None where all are known.

    Args:
        corrector: Fitted.
        sequences: Of the instances.
        counting: Has counted nothing yet.
    """
    questions = [one.question() for one in corrector.uncertain(sequences) if not one.is_doubted]
    counted = corrector.judge_of(sequences, counting)
    first: list[Asked] = []
    while len(first) < len(questions) and counting.usage.calls < _PROBED:  # not every question needs the model
        more = questions[len(first) : len(first) + _PROBED]
        counted.ask(more)
        first += more
    before = replace(corrector.model.usage)
    with corrector.metered("inputs"):
        corrector.judge_of(sequences).ask(first)
    used = corrector.model.usage.minus(before)
    return counting.paced(used) if used.tokens and used.seconds else None
