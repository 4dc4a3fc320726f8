from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.evaluation import Histories
from seqmend.interactions import leave_one_out
from seqmend.ledger import Ledger
from seqmend.progress import silent
from seqmend.recommenders import AUGMENTED, dual_channel_rows
from seqmend.study.arms import SAMPLED
from seqmend.study.augment_studies.arms import ABLATIONS, ARMS, MENDED, Way, arm_data, chosen_ways, proposal_of
from seqmend.study.augment_studies.evidence import evidence
from seqmend.study.augment_studies.proposals import Proposal, Proposer


@pytest.fixture(scope="module")
def setting(make_setting):
    return make_setting()


@pytest.fixture(scope="module")
def proposer(setting, tmp_path_factory):
    return Proposer(setting, setting.begin(tmp_path_factory.mktemp("study") / "out"), silent, jobs=1)


@pytest.fixture(scope="module")
def made(setting, proposer):
    def make(way: Way):
        proposal = proposal_of(way, proposer)
        data = arm_data(setting, way, proposal)
        return proposal, data, dual_channel_rows(data.train, data.channels, 12)

    return make


def test_what_is_learned_from_and_shown_ends_with_the_real_items(setting, made):
    _, data, _ = made(ARMS["top_m"])
    split = setting.split
    as_is, shown = data.test_histories["as_is"], data.test_histories[MENDED]
    for place in range(len(as_is)):
        real, longer = (
            history.sequences[int(history.users[place])][: history.ends[place]].tolist() for history in (as_is, shown)
        )
        assert longer[-len(real) :] == real
        assert len(real) < len(longer) <= len(real) + 2
        assert as_is.ends[place] == split.sequences.lengths[as_is.users[place]] - 1
    for own, longer, valid in zip(split.train, data.channels.augmented, data.valid.sequences, strict=True):
        assert longer[-len(own) :].tolist() == own.tolist()
        assert valid.tolist() == longer.tolist()
        assert not set(longer[: -len(own)].tolist()) & set(own.tolist())
    assert (setting.totals == split.sequences.lengths[split.test.users]).all()


def test_no_edit_changes_when_held_out_items_do(setting, make_setting, proposer, tmp_path):
    """Checks 1 and 2 of the method's list: nothing that is learned or prepended knows what is held out."""
    before = proposer.proposed({"selection": "rank"}, with_model=False)
    sequences = setting.split.sequences
    items = sequences.items.copy()
    last = np.concatenate([sequences.offsets[1:] - 1, sequences.offsets[1:] - 2])
    items[last] = np.random.default_rng(1).permutation(items[last])
    other = replace(setting, split=leave_one_out(replace(sequences, items=items)))
    again = Proposer(other, other.begin(tmp_path / "out"), silent, jobs=1).proposed(
        {"selection": "rank"}, with_model=False
    )
    columns = ["user_id", "view", "position", "item_after", "weight"]
    assert before.ledger.edits.select(columns).equals(again.ledger.edits.select(columns))
    assert before.users.equals(again.users)


def test_weights_are_those_of_the_way(setting, made):
    proposal, data, _ = made(ARMS["top_m"])
    own = dict(zip(proposal.users["user_id"], proposal.users["weight"], strict=True))
    np.testing.assert_allclose(
        data.channels.weights, [own[user] for user in setting.split.train.user_ids.to_list()], atol=1e-6
    )
    assert len(set(own.values())) > 1
    _, dealt, _ = made(Way(changes=ARMS["top_m"].changes, with_model=False, weights="permuted"))
    assert sorted(dealt.channels.weights) == pytest.approx(sorted(data.channels.weights))
    assert not np.array_equal(dealt.channels.weights, data.channels.weights)
    _, full, alone = made(Way(changes=ARMS["top_m"].changes, with_model=False, weights="one"))
    assert (full.channels.weights == 1).all()
    assert (alone.channel == AUGMENTED).all()
    _, none, plain = made(Way(changes=ARMS["top_m"].changes, with_model=False, weights="zero"))
    _, raw, expected = made(ARMS["raw"])
    assert MENDED in none.test_histories
    assert MENDED not in raw.test_histories
    np.testing.assert_array_equal(plain.weights, expected.weights)
    np.testing.assert_array_equal(plain.items, expected.items)
    _, _, twice = made(ARMS["duplicate"])
    assert (np.bincount(twice.channel) == len(expected)).all()
    assert twice.weights.sum() == pytest.approx(expected.weights.sum(), rel=1e-5)


def test_asrep_writes_before_short_sequences_and_predicts_what_it_wrote(setting, made):
    proposal, data, rows = made(ARMS["asrep"])
    n_pseudo = data.channels.augmented.lengths - setting.split.train.lengths
    assert n_pseudo.min() == n_pseudo.max() == 15
    assert rows.channel.min() == AUGMENTED
    predicted = (rows.targets > 0).sum(axis=1).max()
    assert predicted > setting.split.train.lengths.max()
    assert proposal.cost["calls"] == 0


def test_arms_are_chosen_by_name_and_the_mender_needs_no_model_to_be_measured(setting, make_setting):
    assert list(chosen_ways(["asrep"], ARMS, setting)) == ["raw", "asrep", "llm_free"]
    with_model = make_setting(language={"model": "smollm2-135m", "encoder": None})
    assert list(chosen_ways(["asrep"], ARMS, with_model)) == ["raw", "asrep", "mended"]
    assert "mended" not in chosen_ways(None, ARMS, setting)
    ablations = chosen_ways(None, ABLATIONS, setting)
    assert {"crossfit", "random_pool"} <= set(ablations)
    assert not {"published", "similar_titles", "model_alone", "asked"} & set(ablations)
    with pytest.raises(InputError, match="'similar_titles' needs a reader of titles"):
        chosen_ways(["similar_titles"], ABLATIONS, setting)
    with pytest.raises(InputError, match="'halo'"):
        chosen_ways(["halo"], ARMS, setting)


def test_groups_are_of_total_real_length(make_setting):
    lengths = {name: make_setting(groups=name).cuts for name in ("fashion", "book", "yelp", "4,6")}
    assert lengths == {"fashion": (3, 4), "book": (3, 5), "yelp": (6, 8), "4,6": (4, 6)}
    setting = make_setting()
    members = setting.members()
    totals = setting.split.sequences.lengths[setting.split.test.users]
    assert members["tail"].tolist() == (totals == 3).tolist()
    assert (members["short"] ^ members["medium"] ^ members["long"]).all()
    assert members["short"].tolist() == (totals <= setting.cuts[0]).tolist()
    sizes = [int(members[name].sum()) for name in ("short", "medium", "long")]
    assert min(sizes) > 0.2 * sum(sizes)
    for bad in ("6,4", "tall", "1,2,3"):
        with pytest.raises(InputError, match="not known"):
            make_setting(groups=bad)


def test_negatives_are_never_what_the_user_met_and_the_same_for_every_arm(setting):
    held_out, again = setting.held_out(), setting.held_out()
    np.testing.assert_array_equal(held_out.test_negatives, again.test_negatives)
    sequences = setting.split.sequences
    for user, own in zip(held_out.test_users, held_out.test_negatives, strict=True):
        assert not set(own.tolist()) & set(sequences[int(user)].tolist())
    assert SAMPLED.startswith("@")


def test_an_oracle_of_the_held_out_items_is_seen_by_the_leak_detector(setting, proposer):
    honest = proposer.proposed({"selection": "random", "candidates": "random"}, with_model=False)
    split, ids = setting.split, setting.split.sequences.catalogue.item_ids
    targets = split.test
    held_out = ids.gather(split.sequences.items[split.sequences.offsets[targets.users] + targets.positions])
    names = split.sequences.user_ids.gather(targets.users)
    told = pl.DataFrame({"user_id": names, "told": held_out})
    edits = honest.ledger.edits.join(told, on="user_id", how="left").with_columns(
        item_after=pl.when(pl.col("position") == -1).then("told").otherwise("item_after")
    )
    leaking = Proposal(Ledger(edits.drop("told"), honest.ledger.data_id), honest.users, honest.cost)
    weights = np.full(len(split.sequences), 0.25, dtype=np.float32)
    for proposal, is_leak in ((honest, False), (leaking, True)):
        found = evidence(proposal, split, weights, 12)["overlap"]["test"]
        assert (found["ci95"][0] > 0.2) == is_leak
        assert found["share"] == pytest.approx(1.0 if is_leak else found["random"], abs=0.12)
    facts = evidence(honest, split, weights, 5)
    assert facts["truncated"] == int((split.sequences.lengths[np.unique(split.train.users)] + 1 > 5).sum())
    assert facts["weight"] == 0.25
    assert sum(facts["reliability"]["histogram"]) == facts["users"]
    shown = Histories.before(split.sequences, split.test)
    assert facts["users"] == len(np.unique(shown.users))
