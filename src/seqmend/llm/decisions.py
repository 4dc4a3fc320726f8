"""Typed questions by the System One protocol (`transformers serve`, llama.cpp, decision models): no text, but numbers.

One request holds a state and questions about it; the reply has a probability for every allowed answer.
"""

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from seqmend.llm.protocol import Question, Usage

DECISIONS = "systemone"
AT_ONCE = 64
"""Questions in one request, at most."""

_ROUNDING = 0.01


class _Decision(BaseModel):
    noul: float | None = Field(None, ge=0, le=1)
    probabilities: dict[str, float] = {}


class _Usage(BaseModel):
    input_tokens: int = 0
    output_tokens: int = 0


class _Reply(BaseModel):
    answers: dict[str, _Decision]
    usage: _Usage | None = None


def decisions_about(question: Question) -> list[dict[str, Any]]:
    """The typed questions that stand for one of ours: one among all its choices, or one for each of them."""
    choices = distinct(question)
    if question.mode != "subset":
        return [{"type": "choice", "criteria": dict.fromkeys(choices)}]
    return [{"type": "noul", "instructions": f"{choice}{question.verdict}".strip()} for choice in choices]


def body_of_decisions(model: str, state: str, questions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A request; questions are named by their place."""
    return {"model": model, "state": state.strip(), "questions": {str(n): one for n, one in enumerate(questions)}}


def read_decisions(text: str, questions: Sequence[dict[str, Any]]) -> tuple[list[float], Usage | None]:
    """The probabilities of a reply, of every `noul` its one, of a `choice` those of its criteria; tokens, where told.

    Raises:
        ValueError: Not a reply to these questions.
    """
    reply, found = _Reply.model_validate_json(text), list[float]()
    for number, question in enumerate(questions):
        if (answer := reply.answers.get(str(number))) is None:
            raise ValueError(f"question {number} is not answered")
        if question["type"] == "choice":
            shares = [answer.probabilities.get(option, math.nan) for option in question["criteria"]]
            if not math.isclose(sum(shares), 1, abs_tol=_ROUNDING) or min(shares) < 0:
                raise ValueError(f"the probabilities of question {number} do not sum to 1")
            found += shares
        elif answer.noul is None:
            raise ValueError(f"question {number} has no probability")
        else:
            found.append(answer.noul)
    used = reply.usage
    return found, None if used is None else Usage(0, used.input_tokens, used.output_tokens)


def distinct(question: Question) -> list[str]:
    """Its choices as they are shown: without white space around them, each once."""
    return list(dict.fromkeys(choice.strip() for choice in question.choices))
