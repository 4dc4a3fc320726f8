"""The prompts that textual gradient descent starts from: two profiles, two plans, two restrictions, one example."""

from itertools import product

import numpy as np

from seqmend.interactions import Catalogue, clean_title
from seqmend.menders.correct.labelled import Labelled
from seqmend.menders.correct.prompt import Example, Prompt

_PROFILES = (
    "You know {domain} well: what they are about, who makes them and who likes them.",
    "You know {domain} well, and people too: from what somebody chooses you tell what they are after and what not.",
)
_PLANS = (
    "A person chose some {domain}, one after the other, and then one more. Judge freely, by kind, theme, makers, style "
    "and whom they are meant for, which of the earlier choices come from the same interest as the last one.",
    "A person chose some {domain}, one after the other, and then one more. An earlier choice goes with the last one if "
    "one and the same interest explains both. Pair every earlier choice with the last one: find what the two have in "
    "common, then decide whether that is significant, or true of almost any two {domain}. Only what is significant "
    "makes it go with the last one.",
)
_LISTED_ONLY = "Judge only the choices that are listed. All, some or none of them may go with the last one."
_RESTRICTIONS = (_LISTED_ONLY, f"{_LISTED_ONLY} Be strict: what you are not sure of does not go with it.")
_DOMAIN_LENGTH = 60
_N_GOING, _N_FOREIGN = 2, 1  # inputs of an example


def start_prompts(domain: str, example: Example | None = None) -> list[Prompt]:
    """The eight prompts of LLM4RSR's initial pool, in words of our own and of the corpus' domain.

    Args:
        domain: What the items are, in the plural.
        example: From the corpus.
    """
    domain = clean_title(domain, _DOMAIN_LENGTH)
    return [
        Prompt(
            profile=profile.format(domain=domain),
            plan=plan.format(domain=domain),
            restriction=restriction,
            example=example,
        )
        for profile, plan, restriction in product(_PROFILES, _PLANS, _RESTRICTIONS)
    ]


def choose_example(rows: Labelled, catalogue: Catalogue) -> tuple[int, Example] | None:
    """The first row that can show both answers, and what it shows: two inputs that go with its target and one that not.

    A row with fewer of either shows those; one whose titles are not all different, or of whose inputs all or none go
    with the target, is no example.

    Args:
        rows: Instances whose answer is known; none of the example's is to be asked about afterwards.
        catalogue: The titles.
    """
    titles = catalogue.prompt_titles
    for number, question in enumerate(rows.questions()):
        relevant = rows.relevant[number]
        named = [titles[item] for item in (*question.inputs, question.target)]
        if len({name.casefold() for name in named}) < len(named) or relevant.all() or not relevant.any():
            continue
        shown = np.zeros_like(relevant)
        shown[np.flatnonzero(relevant)[:_N_GOING]] = True
        shown[np.flatnonzero(~relevant)[:_N_FOREIGN]] = True
        chosen = np.flatnonzero(shown).tolist()
        example = Example(
            inputs=tuple(named[place] for place in chosen),
            target=named[-1],
            goes=tuple(relevant[chosen].tolist()),
        )
        return number, example
    return None
