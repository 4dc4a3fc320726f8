"""The critic: the language model tells why a prompt errs, and writes it anew.

What it writes is untrusted text: it is cleaned as titles are, and where nothing of use is left the old words stay.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from seqmend.interactions import UNTITLED, Catalogue, clean_title
from seqmend.llm import LanguageModel
from seqmend.menders.correct.descent.examiner import Errors, Pair
from seqmend.menders.correct.parsing import inside
from seqmend.menders.correct.prompt import Prompt
from seqmend.menders.correct.summaries import first_line

Module = Literal["profile", "plan"]
MODULES: tuple[Module, ...] = ("profile", "plan")
Reasons = Mapping[Module, str]

_LONGEST = 1500  # characters of a wording or of reasons
_LEAST_WORDS = 3
_IS = {"profile": "tells who is asked", "plan": "tells how to decide"}

_TASK = (
    "A language model is told some {domain} that a person chose and one that the person chose last. It shall name the "
    "earlier choices that come from the same interest as the last one."
)
_PARTS = "Its instructions have these parts.\nProfile: {profile}\nPlan: {plan}\nRestriction: {restriction}"
_WHY = (
    "{task} {parts}\n\n{errors}\n\nThe {module} {is_}. In at most 150 words: what about the {module} leads to these "
    "errors?\nReasons:"
)
_EDIT = (
    "{task} {parts}\n\nIt made errors, for these reasons: {reasons}\n\nThe {module} {is_}. Write a better {module} "
    "that avoids such errors. It shall hold for any {domain}, so it names no titles. Put it between <new> and "
    "</new>.\n<new>"
)
_AGAIN = (
    "{task} A part of its instructions, the {module}, {is_}:\n{old}\n\nSay the same in other words, as clearly and not "
    "longer. Put it between <new> and </new>.\n<new>"
)
_PAIR = "{task} It is told a summary of each.\n{told}\n\nIt answered that the first {said} the second, which is wrong."
_WHY_PAIR = "{pair} In at most 150 words: what in the two summaries is wrong, not needed or missing?\nReasons:"
_REWRITE = (
    "{pair} The reasons: {reasons}\n\nWrite both summaries anew, each one sentence of at most 30 words, facts only. "
    "Put the first between <first> and </first> and the second between <second> and </second>.\n<first>"
)


@dataclass
class Critic:
    """Criticises and rewrites.

    Args:
        model: Writes.
        catalogue: The titles.
        domain: What the items are, in the plural.
        max_new_tokens: Longest text.
        n_shown: Errors of a kind that a criticism is told of.

    Attributes:
        asked: Texts asked for so far, by stage.
    """

    model: LanguageModel
    catalogue: Catalogue
    domain: str
    max_new_tokens: int
    n_shown: int
    asked: Counter[str] = field(init=False, default_factory=Counter[str])

    def reasons(self, criticised: Sequence[tuple[Prompt, Errors]]) -> list[Reasons]:
        """Why each module of each prompt leads to its errors."""
        asked = [
            _WHY.format(
                task=self._task, parts=_parts(prompt), errors=self._shown(errors), module=module, is_=_IS[module]
            )
            for prompt, errors in criticised
            for module in MODULES
        ]
        texts = iter([clean_title(text, _LONGEST) for text in self._write("reasons", asked)])
        return [{module: next(texts) for module in MODULES} for _ in criticised]

    def edits(self, criticised: Sequence[tuple[Prompt, Reasons]]) -> list[Prompt]:
        """Each prompt with a new profile and a new plan; a module of which nothing of use was written stays."""
        asked = [
            _EDIT.format(
                task=self._task,
                parts=_parts(prompt),
                reasons=reasons[module],
                module=module,
                is_=_IS[module],
                domain=clean_title(self.domain),
            )
            for prompt, reasons in criticised
            for module in MODULES
        ]
        return self._reworded([prompt for prompt, _ in criticised], self._write("edits", asked, "</new>"))

    def paraphrases(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """Each prompt in other words."""
        asked = [
            _AGAIN.format(task=self._task, module=module, is_=_IS[module], old=getattr(prompt, module))
            for prompt in prompts
            for module in MODULES
        ]
        return self._reworded(prompts, self._write("paraphrases", asked, "</new>"))

    def reasons_of_pairs(self, pairs: Sequence[Pair], missing: set[Pair], memory: Mapping[int, str]) -> list[str]:
        """What the summaries of two items have to do with a wrong answer about them.

        Args:
            pairs: Input and target.
            missing: Those of which the input was not named; of the others it was.
            memory: Their summaries.
        """
        asked = [_WHY_PAIR.format(pair=self._pair(pair, pair in missing, memory)) for pair in pairs]
        return [clean_title(text, _LONGEST) for text in self._write("memory", asked)]

    def rewrites(
        self, pairs: Sequence[Pair], missing: set[Pair], memory: Mapping[int, str], reasons: Sequence[str]
    ) -> list[tuple[str, str]]:
        """New summaries of input and target, "" where none was written."""
        asked = [
            _REWRITE.format(pair=self._pair(pair, pair in missing, memory), reasons=reason)
            for pair, reason in zip(pairs, reasons, strict=True)
        ]
        found: list[tuple[str, str]] = []
        for text in self._write("memory", asked, "</second>"):
            first, second = inside(text, "first", is_open=True), inside(text, "second", is_open=False)
            found.append((first_line(first), first_line(second)))
        return found

    def titles(self, pairs: Sequence[Pair]) -> list[dict[str, str]]:
        """Pairs as a person reads them."""
        titles = self.catalogue.prompt_titles
        return [{"input": titles[item], "target": titles[target]} for item, target in pairs]

    @property
    def _task(self) -> str:
        return _TASK.format(domain=clean_title(self.domain))

    def _write(self, stage: str, prompts: list[str], stop: str | None = None) -> list[str]:
        found = self.model.write(prompts, self.max_new_tokens, stop=stop)
        self.asked[stage] += len(prompts)
        return found

    def _shown(self, errors: Errors) -> str:
        told: list[str] = []
        for pairs, what in (
            (errors.missing, "It did not name, although it goes with the last choice:"),
            (errors.redundant, "It named, although it does not go with the last choice:"),
        ):
            shown = [f'- "{p["input"]}", the last choice being "{p["target"]}"' for p in self.titles(pairs)]
            told += [what, *shown[: self.n_shown]] if shown else []
        if errors.n_unreadable:
            told.append(f"{errors.n_unreadable} of its answers could not be read.")
        return "\n".join(told)

    def _pair(self, pair: Pair, is_missing: bool, memory: Mapping[int, str]) -> str:
        titles = self.catalogue.prompt_titles
        told = [f'"{titles[item]}": {memory.get(item) or "(no summary)"}' for item in pair]
        said = "does not go with" if is_missing else "goes with"
        return _PAIR.format(task=self._task, told="\n".join(told), said=said)

    @staticmethod
    def _reworded(prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Prompt]:
        written = iter(texts)
        found: list[Prompt] = []
        for prompt in prompts:
            new = {module: read_wording(next(written)) or getattr(prompt, module) for module in MODULES}
            found.append(prompt.model_copy(update=new))
        return found


def read_wording(text: str) -> str:
    """A wording that was written between tags, on one line; "" where it is not even three words.

    >>> read_wording("You know toys\\nvery well.</new> Good luck!")
    'You know toys very well.'
    """
    clean = clean_title(inside(text, "new", is_open=True), _LONGEST)
    return clean if clean != UNTITLED and len(clean.split()) >= _LEAST_WORDS else ""


def _parts(prompt: Prompt) -> str:
    return _PARTS.format(profile=prompt.profile, plan=prompt.plan, restriction=prompt.restriction or "none")
