import numpy as np
import torch

from seqmend.recommenders import rows_from_sequences
from seqmend.recommenders.robust.graphs import (
    adjacency,
    alike,
    choices,
    incidence,
    incompatible,
    strongest,
    transitions,
)


def test_transitions_and_choices_count_each_user_once_however_rows_are_cut(sequences_of):
    sequences = sequences_of([1, 2, 1, 2, 3], [1, 2], [2, 0, 3])
    expected = sorted([(1, 2), (2, 1), (2, 3), (1, 2)])  # nothing is a step across a masked interaction
    for form in ("sequence", "instance"):
        rows = rows_from_sequences(sequences, max_length=3, form=form)
        assert sorted(zip(*(ends.tolist() for ends in transitions(rows)), strict=True)) == expected
        users, items = choices(rows)
        assert list(zip(users.tolist(), items.tolist(), strict=True)) == [
            (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 2), (2, 3),
        ]  # fmt: skip


def test_strongest_edges_are_those_that_occur_most_often():
    edges = strongest(np.array([0, 0, 0, 0, 0, 2]), np.array([1, 2, 2, 3, 3, 1]), 4, 2)
    assert set(zip(*(ends.tolist() for ends in edges), strict=True)) == {(0, 2, 2), (0, 3, 2), (2, 1, 1)}


def test_adjacency_is_normalised_on_both_sides():
    edges = (np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([1, 3, 1]))
    dense = np.zeros((2, 3))
    dense[edges[0], edges[1]] = edges[2]
    expected = dense / np.sqrt(dense.sum(1, keepdims=True)) / np.sqrt(np.maximum(dense.sum(0), 1))
    matrix = adjacency(edges, (2, 3), torch.device("cpu"))
    np.testing.assert_allclose(matrix.to_dense().numpy(), expected, rtol=1e-6)


def test_alike_and_incompatible_against_a_loop():
    rng = np.random.default_rng(0)
    near, features = (rng.random((12, n)) < 0.2 for n in (12, 9))
    shared, met = near.astype(int) @ near.T, features.astype(int) @ features.T
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
    sparse_near, sparse_features = (incidence(*np.nonzero(matrix), matrix.shape) for matrix in (near, features))

    found = [set(zip(*(a.tolist() for a in edges), strict=True)) for edges in (
        alike(sparse_features, 20), incompatible(sparse_near, sparse_features, 20),
    )]  # fmt: skip

    assert found[0] == {(i, j, met[i, j]) for i, j in pairs if met[i, j]}
    assert found[1] == {(i, j, shared[i, j]) for i, j in pairs if shared[i, j] and not met[i, j]}
    assert found[0]
    assert found[1]
