"""A recommender that knows kinds of items, and a teacher who writes whatever a test wants."""

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from seqmend.llm import Failure, Usage
from seqmend.recommenders import Backbone


class KindBackbone(Backbone):
    """Recommends what is of the kind of the latest item, the highest number first."""

    def __init__(self, n_items: int, per_kind: int, max_length: int) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, max_length
        table = torch.zeros(n_items + 1, 2 + n_items // per_kind)
        numbers = torch.arange(1, n_items + 1)
        table[numbers, (numbers - 1) // per_kind] = 1.0
        table[:, -1] = torch.arange(n_items + 1) / 1000
        self.table = torch.nn.Parameter(table, requires_grad=False)

    def forward(self, items, users=None):
        states = self.table[items.long()].clone()
        states[..., -1] = 1.0
        return states

    def output_table(self):
        return self.table


class Writer:
    """Writes what `text` makes of a prompt."""

    identity = "writer"
    capability = "written"

    def __init__(self, text: Callable[[str], str]) -> None:
        self.text, self.usage, self.prompts = text, Usage(), []

    def write(self, prompts, max_new_tokens=64, stop=None):
        self.prompts += prompts
        return [self.text(prompt).split(stop)[0] if stop else self.text(prompt) for prompt in prompts]

    def write_objects(self, prompts, schema, max_new_tokens=256):
        found = []
        for prompt, text in zip(prompts, self.write(prompts), strict=True):
            try:
                found.append(schema.model_validate_json(text))
            except ValidationError as error:
                found.append(Failure(prompt, str(error), text))
        return found


@pytest.fixture(scope="session")
def make_kind_backbone():
    return KindBackbone


@pytest.fixture(scope="session")
def make_writer():
    return Writer
