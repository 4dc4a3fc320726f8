"""The two questions in words: which of these came before a history, and which came after it?

Titles are clean and of one line; where candidates are told beside the history they stand in double quotes, so that none
can end its place or pose as an instruction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from seqmend.interactions import UNTITLED, Catalogue, clean_title
from seqmend.menders.augment.config import AugmentConfig

Direction = Literal["before", "after"]

_PAPER_CHARACTERS, _PAPER_PROMPT = 8000, 4095
_PAPER_NAMES = 15


@dataclass(frozen=True)
class Asked:
    """One question.

    Attributes:
        direction: Whether what came before the history or what came after it is asked for.
        history: Numbers of items in the order of time.
        candidates: Numbers of items, the recommender's best first; at least one.
        n_pseudo: How many of the history's first items are pseudo items.
        n_wanted: Most candidates that an answer shall name.
    """

    direction: Direction
    history: tuple[int, ...]
    candidates: tuple[int, ...]
    n_pseudo: int = 0
    n_wanted: int = 1


@dataclass(frozen=True)
class Renderer:
    """Puts questions into words.

    Attributes:
        catalogue: The titles.
        max_history: Most real items of a history, the latest.
        max_pseudo: Most pseudo items of a history, those next to the real ones.
        title_length: Most characters of a title.
    """

    catalogue: Catalogue
    max_history: int
    max_pseudo: int
    title_length: int

    @classmethod
    def of(cls, catalogue: Catalogue, config: AugmentConfig) -> "Renderer":
        """As the settings say."""
        return cls(catalogue, config.max_history, config.max_pseudo, config.title_length)

    def title(self, item: int) -> str:
        """A short title; that of an item without one tells its id.

        >>> Renderer(Catalogue.from_titles({"a": "Curling brush with ionic ceramic barrel"}), 8, 4, 18).title(1)
        'Curling brush with'
        """
        title = self.catalogue.prompt_titles[item]
        if title == UNTITLED:
            title = clean_title(f"{UNTITLED} {self.catalogue.item_ids[item]}")
        if len(title) <= self.title_length:
            return title
        cut = title[: self.title_length + 1]
        return (cut.rpartition(" ")[0] or cut[:-1]).rstrip(" ,;:-(")

    def to_continue(self, asked: Asked) -> str:
        """The history as a list that a candidate's title continues: the latest first where earlier ones are wanted."""
        told = self._told(asked)
        if asked.direction == "before":
            lines = ["What one person chose, the latest first:", *(self.title(item) for item in reversed(told))]
        else:
            lines = ["What one person chose, the earliest first:", *(self.title(item) for item in told)]
        return "\n".join(lines) + "\n"

    def choices(self, asked: Asked) -> tuple[str, ...]:
        """The candidates as continuations; equal ones share their probability."""
        return tuple(self.title(item) + "\n" for item in asked.candidates)

    def numbered(self, asked: Asked) -> str:
        """The history in the order of time and the candidates by number, to be answered by JSON."""
        is_before = asked.direction == "before"
        history = [f'- "{self.title(item)}"' for item in self._told(asked)]
        candidates = [f'{number}. "{self.title(item)}"' for number, item in enumerate(asked.candidates, 1)]
        n = min(asked.n_wanted, len(asked.candidates))
        wanted = (
            f"the {n} that they most likely chose, the likeliest first" if n > 1 else "the one they most likely chose"
        )
        return "\n".join(
            [
                "A person chose these, the earliest first:",
                *(history or ["(nothing that is known)"]),
                "",
                f"Some time {'before all of' if is_before else 'right after'} these the same person chose something "
                f"from this list:",
                *candidates,
                "",
                f"Name {wanted} {'before' if is_before else 'next'}. Answer with JSON that lists numbers, like "
                f'{{"choices": [{"4, 1, 9" if n > 1 else "4"}]}}, and nothing else.',
                "Answer: ",
            ]
        )

    def named(self, asked: Asked) -> str:
        """The question as the official code asks it, in words of our own: names, lengths cut by characters (paper).

        Items without a title are left out, and what comes last in a long prompt is lost: that is what is reproduced.
        """
        titled = self.catalogue.has_title
        history = [self.catalogue.prompt_titles[item] for item in reversed(asked.history) if titled[item]]
        candidates = [self.catalogue.prompt_titles[item] for item in asked.candidates if titled[item]]
        n = f"{_PAPER_NAMES} names, one per line" if asked.n_wanted > 1 else "one name"
        prompt = "\n".join(
            [
                "A user has interacted with these items: " + ", ".join(history)[-_PAPER_CHARACTERS:],
                "Which of the following items may the user interact with?",
                "\n".join(candidates)[-_PAPER_CHARACTERS:],
                f"Answer with {n}, and nothing else.",
                "",
            ]
        )
        return prompt[:_PAPER_PROMPT]

    def _told(self, asked: Asked) -> Sequence[int]:
        pseudo, real = asked.history[: asked.n_pseudo], asked.history[asked.n_pseudo :]
        return [*pseudo[len(pseudo) - min(len(pseudo), self.max_pseudo) :], *real[-self.max_history :]]
