"""LLM4RSR (AAAI 2025): the recommender says which instances it cannot judge, a language model corrects those.

Where it is known what the recommender's doubt of a target is worth, instances whose target is noise more likely than
not go unasked.

Every uncertain instance is asked about once: which inputs go with the target? Those that do not are dropped. Where none
does, the recommender's own candidates are asked about in turn, and the first that any input goes with takes the
target's place; where no candidate fits either, the instance goes.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from seqmend.errors import InputError
from seqmend.interactions import PADDING, Sequences
from seqmend.ledger import Ledger
from seqmend.llm import LanguageModel, Usage, metered
from seqmend.menders.correct.config import CorrectConfig
from seqmend.menders.correct.corrections import Correction, Trial, to_edits
from seqmend.menders.correct.judges import Judge
from seqmend.menders.correct.labelled import LabelledConfig, label
from seqmend.menders.correct.prompt import Prompt, Renderer
from seqmend.menders.correct.question import Teacher, Verdict
from seqmend.menders.correct.strangers import Strangers, of_interactions
from seqmend.menders.correct.uncertain import (
    Float64,
    Int32,
    Int64,
    candidates,
    co_occurrence,
    pair_counts,
    select,
    uncertainty,
)
from seqmend.progress import Progress, silent
from seqmend.recommenders import Backbone, Reliability, Rows, rows_from_sequences

NAME = "correct"


@dataclass(frozen=True, eq=False)
class Instances:
    """All R instances of sequences, and how uncertain each is.

    Attributes:
        rows: As long as the backbone reads.
        inputs: The L inputs that are asked about, int32 [R, L].
        closest: mco, the most co-occurrences of any input with the target, int64 [R].
        uncertainty: float64 [R] in [0, 1].
        foreign: P(the target is noise) of every instance, float64 [R]; None where nobody knows.
        strange: Log-odds that an input is a stranger, float64 [R, L]; None where nobody knows.
        chosen: Numbers of those to ask about, the most uncertain first, int64 [U].
    """

    rows: Rows
    inputs: Int32
    closest: Int64
    uncertainty: Float64
    foreign: Float64 | None
    strange: Float64 | None
    chosen: Int64


@dataclass
class Corrector:
    """The mender: `fit` on training sequences, then `propose`.

    Args:
        config: Settings.
        model: The language model.
        backbone: A recommender that was trained on the training sequences.
        reliability: Of all instances of the sequences that are corrected, in the order of `rows_from_sequences`, where
            something knows it better than the trained backbone does (see `recommenders.TrainingDynamics`).
        prompt: Wording of the question.
        memory: Summaries by item number, for the question.
        asker: Makes of a language model who is asked, where that is not a `Teacher` of this prompt: one that was tuned
            to the question, say.
        strangers: Tells which interactions are noise; without it the language model alone does.
        progress: Told what is being done.

    Attributes:
        trust: How often a written "does not go" was right on self-labelled instances, in (0, 1); None where the model
            gives probabilities, or nothing was labelled.
        spent: What the language model was newly asked, by stage: "calibration", "inputs", "targets".
    """

    config: CorrectConfig
    model: LanguageModel
    backbone: Backbone
    reliability: Reliability | None = None
    prompt: Prompt = field(default_factory=Prompt)
    memory: Mapping[int, str] = field(default_factory=dict[int, str])
    asker: Callable[[LanguageModel], Judge] | None = None
    strangers: Strangers | None = None
    progress: Progress = silent
    trust: float | None = field(init=False, default=None)
    spent: dict[str, Usage] = field(init=False, default_factory=dict[str, Usage])
    _found: tuple[Sequences, Instances] | None = field(init=False, default=None, repr=False)

    def fit(self, train: Sequences) -> Self:
        """Count what co-occurs, and learn how far to trust a model that only writes.

        Raises:
            InputError: The backbone knows another number of items.
        """
        if self.backbone.n_items != len(train.catalogue):
            raise InputError(
                f"the recommender knows {self.backbone.n_items} items, the catalogue has {len(train.catalogue)}",
                fix="train the recommender on the log that is corrected",
            )
        self._pairs, self._found = co_occurrence(train), None
        teacher = self.teacher(train)
        with self.metered("calibration"):
            is_measured = self.asker is None and teacher.writes and self.config.calibration_rows > 0
            self.trust = self._measured_trust(teacher, train) if is_measured else None
        return self

    def judge_of(self, sequences: Sequences, model: LanguageModel | None = None) -> Judge:
        """Who is asked about these sequences: the language model, or another one in its place."""
        given = model or self.model
        return self.asker(given) if self.asker else replace(self.teacher(sequences), model=given)

    def teacher(self, sequences: Sequences) -> Teacher:
        """The language model as it is asked by the prompt."""
        config = self.config
        return Teacher(
            self.model,
            Renderer(self.prompt, sequences.catalogue, self.memory),
            config.answers,
            config.threshold,
            config.unreadable == "none",
            config.max_new_tokens,
        )

    def instances(self, sequences: Sequences) -> Instances:
        """All instances, with those that shall be asked about; found once for the same sequences.

        An instance whose target, or every input, has no title cannot be asked about.
        """
        if self._found is None or self._found[0] is not sequences:
            self._found = sequences, self._find(sequences)
        return self._found[1]

    def _find(self, sequences: Sequences) -> Instances:
        config, titled = self.config, sequences.catalogue.has_title
        rows = rows_from_sequences(sequences, self.backbone.max_length, "instance")
        inputs = rows_from_sequences(sequences, config.max_length, "instance").items[rows.has_loss]
        rows = rows.select(rows.has_loss)
        targets = rows.targets[:, -1]
        closest = pair_counts(self._pairs, inputs, targets).max(axis=1, initial=0)
        if not len(rows):
            nothing = np.zeros(0, dtype=np.int64)
            return Instances(rows, inputs, closest, nothing.astype(np.float64), None, None, nothing)
        self.progress("asking the recommender what it doubts", 0, 0)
        reliability = self.reliability
        if reliability is None and (config.signal == "native" or self.strangers is not None):
            reliability = self.backbone.reliability(rows)
        doubts = uncertainty(config.signal, self.backbone, rows, closest, reliability, config.seed)
        foreign = strange = None
        if self.strangers is not None and reliability is not None:
            n = sequences.n_interactions
            odds = self.strangers.log_odds(sequences, of_interactions(n, rows.row_id, reliability.reliability))
            strange = odds[np.maximum(rows.row_id[:, None] + np.arange(-inputs.shape[1], 0), 0)]
            foreign = self.strangers.probability(odds[rows.row_id]) if config.stages != "inputs" else None
        can_ask = titled[targets] & titled[inputs].any(axis=1)
        chosen = select(doubts, closest, rows.row_id, config.uncertain_share, can_ask)
        return Instances(rows, inputs, closest, doubts, foreign, strange, chosen)

    def judge(self, sequences: Sequences, judge: Judge | None = None) -> list[Correction]:
        """What becomes of every uncertain instance, the most uncertain first.

        Those that a spent budget left without an answer stay as they are.

        Args:
            sequences: The training part: never a held-out target.
            judge: Who answers instead of the language model.
        """
        config, teacher = self.config, judge or self.judge_of(sequences)
        found = self.uncertain(sequences)
        places = [place for place, one in enumerate(found) if not one.is_doubted]
        with self.metered("inputs"):
            verdicts = teacher.ask([found[n].question() for n in places], self.progress)
        for place, verdict in zip(places, verdicts, strict=True):
            one = found[place]
            found[place] = one.after(self._without_repeats(one, verdict), config.stages)
        open_ = [place for place, one in enumerate(found) if one.action == "open"]
        if not open_:
            return found
        proposed = self.candidates([found[place] for place in open_], sequences)
        trials: list[list[Trial]] = [[] for _ in open_]
        for column in range(config.n_candidates):
            asked = [
                n
                for n, item in enumerate(proposed[:, column].tolist())
                if item != PADDING and not (config.lazy and any(trial.fits for trial in trials[n]))
            ]
            questions = [found[open_[n]].question(int(proposed[n, column])) for n in asked]
            with self.metered("targets"):
                answers = teacher.ask(questions, self.progress, f"asking about candidate {column + 1}")
            for n, answer in zip(asked, answers, strict=True):
                trials[n].append(Trial(int(proposed[n, column]), answer))
        for place, tried in zip(open_, trials, strict=True):
            found[place] = found[place].settled(tried, config.stages, config.unmatched)
        return found

    def propose(self, sequences: Sequences) -> Ledger:
        """Edits of single training instances, those of one instance in one group.

        Args:
            sequences: See `judge`.
        """
        return self.propose_from(self.judge(sequences), sequences)

    def propose_from(self, corrections: list[Correction], sequences: Sequences) -> Ledger:
        """Edits from corrections that are already there."""
        told: dict[str, object] = {
            "signal": self.config.signal,
            "threshold": self.config.threshold,
            "prompt": self.prompt.digest,
            "model": self.model.identity,
        }
        return Ledger.propose(to_edits(corrections, sequences, self.trust, told, NAME), sequences, NAME)

    def uncertain(self, sequences: Sequences) -> list[Correction]:
        """The uncertain instances, the most uncertain first, and nothing answered yet."""
        all_ = self.instances(sequences)
        found = [
            Correction(
                int(all_.rows.row_id[n]),
                int(all_.rows.user[n]),
                tuple(all_.inputs[n].tolist()),
                tuple(sequences.catalogue.has_title[all_.inputs[n]].tolist()),
                int(all_.rows.targets[n, -1]),
                float(all_.uncertainty[n]),
                int(all_.closest[n]),
                foreign=None if all_.foreign is None else float(all_.foreign[n]),
                strange=() if all_.strange is None else tuple(all_.strange[n].tolist()),
            )
            for n in all_.chosen.tolist()
        ]
        if self.config.doubted == "drop":
            return [replace(one, action="drop") if one.is_doubted else one for one in found]
        return found

    def candidates(self, corrections: Sequence[Correction], sequences: Sequences) -> Int32:
        """Targets that the recommender would rather see, int32 [n corrections, n_candidates], the best first."""
        numbers = np.array([one.row_id for one in corrections], dtype=np.int64)
        return candidates(self.backbone, sequences, numbers, self.config.max_length, self.config.n_candidates)

    def metered(self, stage: str) -> AbstractContextManager[None]:
        """What is newly asked within counts as spent on a stage."""
        return metered(self.model.usage, self.spent, stage)

    def _without_repeats(self, one: Correction, verdict: Verdict | None) -> Verdict | None:
        if not self.config.drop_repeats or verdict is None or verdict.goes is None:
            return verdict
        goes = tuple(fits and item != one.target for fits, item in zip(verdict.goes, one.questioned, strict=True))
        return replace(verdict, goes=goes)

    def _measured_trust(self, teacher: Teacher, train: Sequences) -> float:
        """Share of the inputs that the model calls foreign which are noise, with one of each added (Laplace)."""
        config = self.config
        settings = LabelledConfig(rows=config.calibration_rows, max_length=config.max_length, seed=config.seed)
        rows = label(train, settings)
        verdicts = teacher.ask(rows.questions(), self.progress, "measuring how far to trust the model")
        right = total = 0
        for verdict, relevant in zip(verdicts, rows.relevant.tolist(), strict=True):
            if verdict is not None and verdict.goes is not None:
                foreign = [own for goes, own in zip(verdict.goes, relevant, strict=True) if not goes]
                right, total = right + foreign.count(False), total + len(foreign)
        return (right + 1) / (total + 2)
