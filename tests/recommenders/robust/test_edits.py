import torch
from hypothesis import given
from hypothesis import strategies as st

from seqmend.recommenders.robust.edits import DELETE, INSERT, damaged, edit

END, N_ITEMS = 99, 9


def test_edit_leaves_out_puts_in_and_carries_along():
    sequence = torch.tensor([[0, 5, 6, 7]])
    put_in = torch.zeros(1, 4, 2, dtype=torch.long)
    put_in[0, 3] = torch.tensor([8, 9])

    edited = edit(sequence, torch.tensor([[True, True, False, True]]), put_in, width=10)

    assert edited.items.tolist() == [[5, 8, 9, 7]]
    assert edited.carried(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist() == [[2, 0, 0, 4]]
    assert edit(sequence, torch.ones(1, 4, dtype=torch.bool), put_in, width=3).items.tolist() == [[8, 9, 7]]


@given(st.lists(st.integers(10, 50), min_size=2, max_size=8), st.integers(0, 3), st.integers(0, 10_000))
def test_repairs_undo_the_damage(items: list[int], n_padding: int, seed: int):
    """Random items are below 10, the user's are not."""
    torch.manual_seed(seed)
    sequence = torch.tensor([[0] * n_padding + items])

    damage = damaged(sequence, N_ITEMS, 0.5, 0.3, n_missing=8, end=END, width=40)

    undone: list[int] = []
    columns = zip(damage.edited.items[0].tolist(), damage.repairs[0].tolist(), damage.missing[0].tolist(), strict=True)
    for item, repair, missing in columns:
        assert (repair == DELETE) == (0 < item <= N_ITEMS)
        if repair == INSERT:
            undone += reversed(missing[: missing.index(END)] if END in missing else missing)
        if repair != DELETE and item:
            undone.append(item)
    assert undone == items
    assert int(damage.edited.items[0, -1]) == items[-1]
