"""The transcript of a descent: what was tried, what was wrong with it, and what came of it, for a person to read."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from seqmend.files import write_json
from seqmend.menders.correct.prompt import Prompt

Means = dict[str, float]
Ended = Literal["epochs", "patience", "budget"]


@dataclass
class Wording:
    """A prompt and where it comes from: `start`, an `edit` or a `paraphrase` of its parent."""

    profile: str
    plan: str
    restriction: str
    origin: Literal["start", "edit", "paraphrase"]
    parent: str | None
    epoch: int


@dataclass
class Attempt:
    """A prompt on the rows on which errors were looked for; prompts are named by their digest.

    Attributes:
        prompt: Which.
        marks: Mean precision, recall and F1.
        missing: Errors that the criticism was told of or may have been: `input` and `target` by title.
        redundant: Likewise.
        n_unreadable: Answers that could not be read.
        reasons: What the model said of it, by module.
        edited: The prompt that it wrote thereupon; None where nothing was to be criticised or nothing of use written.
    """

    prompt: str
    marks: Means
    missing: list[dict[str, str]]
    redundant: list[dict[str, str]]
    n_unreadable: int
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    edited: str | None = None


@dataclass
class Rewrite:
    """Two summaries that were rewritten, and mean F1 of the best prompt on validation rows before and after."""

    input: str
    target: str
    error: Literal["missing", "redundant"]
    before: tuple[str, str]
    reasons: str
    after: tuple[str, str] | None = None
    f1_before: float | None = None
    f1_after: float | None = None
    kept: bool = False


@dataclass
class Rung:
    """Mean of the selecting mark of every prompt that was still in the race, over so many rows."""

    n_rows: int
    scores: dict[str, float]


@dataclass
class Epoch:
    """One round.

    Attributes:
        number: Counted from 1.
        attempts: One per prompt of the pool.
        rewrites: Of summaries.
        race: By which the beam was selected.
        beam: The prompts that go on, the best first.
        paraphrases: New prompt by the one that it says in other words.
        validation: Marks of the beam; none where there are no validation rows.
        test: Marks of all prompts of the pool on the test rows (paper only: nothing is chosen by them).
        best: The prompt that would be kept now.
    """

    number: int
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    rewrites: list[Rewrite] = field(default_factory=list[Rewrite])
    race: list[Rung] = field(default_factory=list[Rung])
    beam: list[str] = field(default_factory=list[str])
    paraphrases: dict[str, str] = field(default_factory=dict[str, str])
    validation: dict[str, Means] = field(default_factory=dict[str, Means])
    test: dict[str, Means] = field(default_factory=dict[str, Means])
    best: str = ""


@dataclass
class Transcript:
    """A whole descent.

    Attributes:
        model: Who answered, criticised and rewrote.
        mode: See `TextualGradientConfig`.
        domain: What the items are.
        n_rows: Of the parts `train`, `validation` and `test`.
        blind: Marks on the validation and test rows of who looks at nothing, and names `all` inputs or `none`.
        forecast: The most questions and texts that it would take, by stage.
        wordings: All prompts by digest.
        start: Marks of the start prompts on the validation rows.
        epochs: In turn.
        ended_by: Its epochs, its patience, or a spent budget.
        best: The prompt that is kept.
        best_start: The best of the start prompts.
        test: Marks of these two on the test rows, with the summaries that are kept.
        asked: Questions and texts that it took, by stage; what a journal knew already counts, too.
    """

    model: str
    mode: str
    domain: str
    n_rows: dict[str, int]
    forecast: dict[str, int]
    blind: dict[str, dict[str, Means]] = field(default_factory=dict[str, dict[str, Means]])
    wordings: dict[str, Wording] = field(default_factory=dict[str, Wording])
    start: dict[str, Means] = field(default_factory=dict[str, Means])
    epochs: list[Epoch] = field(default_factory=list[Epoch])
    ended_by: Ended = "epochs"
    best: str = ""
    best_start: str = ""
    test: dict[str, Means] = field(default_factory=dict[str, Means])
    asked: dict[str, int] = field(default_factory=dict[str, int])

    def add(
        self,
        prompt: Prompt,
        origin: Literal["start", "edit", "paraphrase"],
        parent: Prompt | None = None,
    ) -> None:
        """Note a prompt, unless it is known."""
        wording = Wording(
            prompt.profile,
            prompt.plan,
            prompt.restriction,
            origin,
            None if parent is None else parent.digest,
            len(self.epochs),
        )
        self.wordings.setdefault(prompt.digest, wording)

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        write_json(path, asdict(self))
