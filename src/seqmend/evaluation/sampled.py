"""Ranking among sampled negatives: only for comparison with papers that did so; see Krichene and Rendle, KDD 2020."""

import hashlib

import numpy as np
import torch

from seqmend.errors import InputError
from seqmend.evaluation.ranking import Histories, Int32, Int64, states_of
from seqmend.recommenders import Backbone


def sampled_negatives(seen: Histories, targets: Int32, n_items: int, n_negatives: int = 100, seed: int = 0) -> Int32:
    """One fixed list of uniform negatives for every target, from the user's id and the seed alone.

    No item is drawn that the user has met, nor the target, and none twice: the list is the same for every model, arm
    and order of users.

    Args:
        seen: What each user has met.
        targets: int32 [M], item numbers 1..V.
        n_items: V.
        n_negatives: n.
        seed: Of the lists.

    Returns:
        int32 [M, n].

    Raises:
        InputError: A user has met so much that fewer than n items are left.
    """
    negatives = np.empty((len(targets), n_negatives), dtype=np.int32)
    for number, (target, user) in enumerate(zip(targets, seen.users, strict=True)):
        name = seen.sequences.user_ids[int(user)]
        digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest()
        rng = np.random.default_rng(int.from_bytes(digest, "little"))
        _, met = seen.cells(np.array([number]))
        left_out = np.append(met, target)
        draws = rng.choice(n_items, min(n_items, n_negatives + len(left_out)), replace=False, shuffle=True) + 1
        fresh = draws[~np.isin(draws, left_out)]
        if len(fresh) < n_negatives:
            raise InputError(
                f"{n_negatives} negatives cannot be drawn: user {name} has met all but {len(fresh)} items",
                fix="ask for fewer negatives, or rank the whole catalogue",
            )
        negatives[number] = fresh[:n_negatives]
    return negatives


def rank_among(model: Backbone, histories: Histories, targets: Int32, negatives: Int32) -> Int64:
    """Rank of every target among its own negatives; a negative with the target's score counts as better.

    Args:
        model: Left in the mode that it was in.
        histories: What the model is shown.
        targets: int32 [M].
        negatives: int32 [M, n].

    Returns:
        int64 [M], 1 = best, n + 1 = worst.
    """
    ranks = np.empty(len(targets), dtype=np.int64)
    for numbers, states in states_of(model, histories, order_by=targets):
        items = torch.from_numpy(np.column_stack([targets[numbers], negatives[numbers]]).astype(np.int64))
        with torch.inference_mode():
            vectors = model.output_table()[items.to(states.device)]
            scores = (vectors @ states[..., None])[..., 0]
        ranks[numbers] = 1 + (scores[:, 1:] >= scores[:, :1]).sum(1).cpu().numpy()
    return ranks
