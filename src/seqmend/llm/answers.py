"""From what a model says to answers: probabilities of choices, validated objects."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from seqmend.llm.protocol import Answer, Failure, Question, SchemaT


def continuations(question: Question) -> list[str]:
    """The texts whose likelihoods answer a question of competing or separately judged choices."""
    if question.mode != "subset":
        return list(question.choices)
    return [choice + question.verdict + word for choice in question.choices for word in (" yes", " no")]


def answer_to(question: Question, names: list[str], sums: npt.NDArray[np.float64], lengths: npt.NDArray[Any]) -> Answer:
    """Probabilities of the choices from the log-likelihoods of the distinct continuations.

    Args:
        question: Of the mode `one_of`, `ranking` or `subset`.
        names: Distinct texts of `continuations(question)`.
        sums: Their log-likelihoods, float64 [n names].
        lengths: Their numbers of tokens, [n names].
    """
    place = {name: at for at, name in enumerate(names)}
    at = np.array([place[name] for name in continuations(question)])
    if question.mode == "subset":
        odds = sums[at[0::2]] - sums[at[1::2]]
        return Answer(1 / (1 + np.exp(-odds)), None)
    values = sums / lengths if question.length_normalised else sums
    shares = np.exp(values - values.max())
    shares /= shares.sum()
    return Answer(shares[at] / np.bincount(at, minlength=len(names))[at], sums[at])


def parsed(prompt: str, text: str, schema: type[SchemaT]) -> SchemaT | Failure:
    """The object that a text holds, or what is wrong with it."""
    begin = text.find("{")
    if begin < 0:
        return Failure(prompt, "the answer holds no JSON object", text)
    try:
        value, _ = json.JSONDecoder().raw_decode(text[begin:])
        return schema.model_validate(value)
    except (json.JSONDecodeError, ValidationError, RecursionError) as error:
        return Failure(prompt, str(error), text)
