"""Items that a user has not met, drawn at random on the device."""

import numpy as np
import torch
from torch import Tensor

from seqmend.recommenders.rows import Rows

_DRAWS = 4


class NegativeSampler:
    """Draws uniform negatives outside the items of a user's rows.

    Args:
        rows: Their inputs and targets are what a user has met.
        n_items: V.
        device: Where negatives are wanted.
    """

    def __init__(self, rows: Rows, n_items: int, device: torch.device) -> None:
        self.n_items = n_items
        users = rows.user.astype(np.int64)[:, None] * (n_items + 1)
        met = np.unique(np.concatenate([(users + rows.items).ravel(), (users + rows.targets).ravel()]))
        self._met = torch.from_numpy(met).to(device)

    def draw(self, users: Tensor, n_negatives: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Negatives for every target.

        Args:
            users: int64 [T], the user of each target.
            n_negatives: n per target.
            generator: On the device of the sampler.

        Returns:
            Items, int64 [T, n], and whether each is one that the user has not met, bool [T, n]: a user who has met
            nearly everything may draw only met items, which must then not count.
        """
        shape = (len(users), n_negatives)
        items, is_new = self._draw(users, shape, generator)
        for _ in range(_DRAWS - 1):
            others, are_new = self._draw(users, shape, generator)
            items, is_new = torch.where(is_new, items, others), is_new | are_new
        return items, is_new

    def _draw(self, users: Tensor, shape: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        items = torch.randint(1, self.n_items + 1, shape, generator=generator, device=self._met.device)
        keys = users[:, None] * (self.n_items + 1) + items
        places = torch.searchsorted(self._met, keys).clamp_(max=len(self._met) - 1)
        return items, self._met[places] != keys
