import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqmend.recommenders.batches import batches, n_batches
from seqmend.recommenders.rows import Rows


def rows_with(pair: list[int], lengths: list[int]) -> Rows:
    n, width = len(pair), max(lengths)
    items = (np.arange(width) >= width - np.array(lengths)[:, None]).astype(np.int32)
    return Rows(
        row_id=np.arange(n),
        user=np.arange(n, dtype=np.int32),
        channel=np.zeros(n, dtype=np.int8),
        form="sequence",
        items=items,
        targets=items,
        weights=items.astype(np.float32),
        is_pseudo=np.zeros(items.shape, dtype=np.bool_),
        pair=np.array(pair, dtype=np.int64),
    )


@given(
    cells=st.lists(st.tuples(st.integers(-1, 8), st.integers(1, 20)), min_size=1, max_size=60),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_every_row_is_in_one_batch_and_pairs_stay_together(cells, batch_size, seed):
    rows = rows_with([pair for pair, _ in cells], [length for _, length in cells])

    divided = batches(rows, batch_size, torch.Generator().manual_seed(seed))

    assert sorted(np.concatenate(divided).tolist()) == list(range(len(rows)))
    n_alone, pairs = int((rows.pair < 0).sum()), set(rows.pair.tolist()) - {-1}
    assert len(divided) == n_batches(rows, batch_size) == -(-(n_alone + len(pairs)) // batch_size)
    for batch in divided:
        assert (rows.pair[batch] < 0).sum() + len(set(rows.pair[batch].tolist()) - {-1}) <= batch_size
    for number in pairs:
        assert sum((rows.pair[batch] == number).any() for batch in divided) == 1


def test_batches_are_shuffled_and_of_like_length():
    lengths = np.random.default_rng(0).integers(1, 51, size=400)
    rows = rows_with([-1] * 400, lengths.tolist())

    first, second = (batches(rows, 25, torch.Generator().manual_seed(seed)) for seed in (0, 1))

    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    padded = sum(len(batch) * rows.lengths[batch].max() for batch in first)
    assert padded < 1.1 * lengths.sum()
    assert not np.array_equal(
        np.sort([rows.lengths[batch].max() for batch in first]), [rows.lengths[b].max() for b in first]
    )
