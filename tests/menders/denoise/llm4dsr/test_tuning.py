import re

import numpy as np
import pytest

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences
from seqmend.llm import LocalModel, LoRAConfig
from seqmend.menders.denoise.llm4dsr import LLM4DSRConfig, TuningConfig, tune
from seqmend.menders.denoise.llm4dsr.tuning import (
    Corrupted,
    Intrusion,
    corrupt_windows,
    passages,
    shown,
    split_windows,
)
from seqmend.menders.denoise.windows import cut


def listed(question):
    return re.findall(r'"([^"]*)"', question.split("\n\nInput: ")[1])


def corrupted(clean, config, seed=0, encoder=None):
    items = cut(clean, 10).items
    intrusion = Intrusion.of(clean, config.intruders, encoder)
    return corrupt_windows(items, clean.catalogue, intrusion, config, np.random.default_rng(seed))


def test_an_example_differs_in_at_most_one_position_and_names_both_titles(clean):
    """Check 3."""
    windows = corrupted(clean, TuningConfig())
    titles = clean.catalogue.prompt_titles
    examples = passages(windows, clean.catalogue, TuningConfig(), "<end>")
    assert len(examples) == len(windows.items)
    for row, before, example in zip(windows.items, windows.originals, examples, strict=True):
        question, response = example.parts
        source = [titles[item] for item in before if item]
        different = [(a, b) for a, b in zip(listed(question), source, strict=True) if a != b]
        if not different:
            assert response == " None\nSuggested: None<end>"
            continue
        assert len(different) == 1
        intruder, original = different[0]
        assert response == f' "{intruder}"\nSuggested: "{original}"<end>'
        assert intruder not in source  # default: no item of the window
        assert (row != before).sum() == 1
    share = windows.mask.any(1).mean()
    assert share == pytest.approx(0.8, abs=0.06)


@pytest.mark.parametrize("corruptions", [2, 3])
def test_several_intruders_are_named_in_their_order(clean, corruptions):
    config = TuningConfig(corruptions=corruptions, clean_share=0.0)
    windows = corrupted(clean, config)
    assert (windows.mask.sum(1) == np.minimum(corruptions, (windows.items > 0).sum(1))).all()
    row, before = windows.items[0], windows.originals[0]
    response = passages(windows, clean.catalogue, config, "")[0].parts[1]
    titles = clean.catalogue.prompt_titles
    noisy, suggested = response.split("\nSuggested:")
    assert re.findall(r'"([^"]*)"', noisy) == [titles[item] for item in row[row != before]]
    assert re.findall(r'"([^"]*)"', suggested) == [titles[item] for item in before[row != before]]


def test_intruders_come_from_where_they_should(clean, encoder):
    """Check 2, for self-corruption: uniform intruders follow the catalogue, popular ones the log."""
    rng = np.random.default_rng(0)
    often = np.where(rng.random(clean.n_interactions) < 0.5, 7, clean.items).astype(np.int32)
    log = Sequences(clean.user_ids, clean.offsets, often, clean.timestamps, clean.catalogue)
    share = {}
    for kind in ("uniform", "popular"):
        intrusion = Intrusion.of(log, kind)
        drawn = [intrusion.draw(1, rng) for _ in range(2000)]
        share[kind] = np.mean(np.array(drawn) == 7)
    assert share["uniform"] == pytest.approx(1 / 48, abs=0.015)
    assert share["popular"] == pytest.approx((log.items == 7).mean(), abs=0.04)
    hard = corrupted(clean, TuningConfig(intruders="hard", clean_share=0.0, allow_repeats=True), encoder=encoder)
    kinds = (hard.items - 1) // 12 == (hard.originals - 1) // 12
    easy = corrupted(clean, TuningConfig(clean_share=0.0))
    assert kinds[hard.mask].mean() > ((easy.items - 1) // 12 == (easy.originals - 1) // 12)[easy.mask].mean() + 0.3
    with pytest.raises(InputError, match="need a sentence encoder"):
        Intrusion.of(clean, "hard")


def test_the_paper_s_form_corrupts_every_window_and_shows_the_target(clean):
    config = LLM4DSRConfig(mode="paper", tuning={"windows": 100})
    windows, held_out = split_windows(clean, config)
    assert windows.shape == (100, 11)
    assert len(held_out) == 0
    intrusion = Intrusion.of(clean, config.tuning.intruders)
    spoiled = corrupt_windows(windows, clean.catalogue, intrusion, config.tuning, np.random.default_rng(0))
    assert (spoiled.mask.sum(1) <= 1).all()
    assert spoiled.mask.mean(0) == pytest.approx(np.full(11, 1 / 11), abs=0.1)  # the target too
    assert spoiled.mask.any(1).mean() > 0.95  # an intruder may be the item itself
    example = passages(spoiled, clean.catalogue, config.tuning, "")[0]
    assert example.scored == (True, True)  # the loss is over the whole text
    assert len(listed(example.parts[0])) == 11
    default = LLM4DSRConfig(tuning={"windows": 100, "held_out": 20})
    own, others = split_windows(clean, default)
    assert own.shape == (100, 10)
    assert others.shape[1] == 10
    assert passages(Corrupted(own, own), clean.catalogue, default.tuning, "")[0].scored == (False, True)


def test_no_user_is_both_tuned_on_and_held_out():
    ids = [f"i{n}" for n in range(400)]
    histories = {f"u{u}": ids[u * 10 : u * 10 + 10] for u in range(40)}  # an item tells its user
    log = Sequences.from_lists(histories, {item: f"title {item}" for item in ids})
    config = LLM4DSRConfig(tuning={"windows": 20, "held_out": 15})
    own, others = split_windows(log, config)
    assert len(own) > 10
    assert len(others) > 5
    assert not set(own.ravel()) & set(others.ravel()) - {0}


def test_the_oldest_titles_are_dropped_and_never_named():
    titles = {f"i{n}": f"{n} " + "x" * 190 for n in range(30)}
    log = Sequences.from_lists({f"u{u}": [f"i{(u + n) % 30}" for n in range(10)] for u in range(60)}, titles)
    windows = corrupted(log, TuningConfig(clean_share=0.0))
    assert windows.mask.any(1).all()
    for row, example in zip(windows.items, passages(windows, log.catalogue, TuningConfig(), ""), strict=True):
        kept = listed(example.parts[0])
        assert kept == [log.catalogue.prompt_titles[item] for item in row[shown(row, log.catalogue)]]
        assert 0 < len(kept) < 10
        assert re.findall(r'"([^"]*)"', example.parts[1])[0] in kept


def test_awkward_titles_are_shown_named_or_left_out(awkward: Catalogue):
    row = np.arange(1, len(awkward) + 1, dtype=np.int32)
    columns = shown(row, awkward)
    without = {awkward.item_ids[int(row[column])] for column in set(range(len(row))) - set(columns.tolist())}
    assert without == {"f", "j", "k"}  # no title is left of them
    before = row.copy()
    row[1] = 3  # "None" becomes "1984"
    example = passages(Corrupted(row[None], before[None]), awkward, TuningConfig(), "")[0]
    assert example.parts[1] == ' "1984"\nSuggested: "None"'
    assert len(listed(example.parts[0])) == len(columns)
    only_untitled = np.array([[10, 11, 0]], dtype=np.int32)
    assert passages(Corrupted(only_untitled, only_untitled), awkward, TuningConfig(), "") == []


def test_tuning_fits_an_adapter_that_likes_the_right_answers_more(tiny: LocalModel, tiny_folder, clean, tmp_path):
    lora = LoRAConfig(epochs=6, batch_size=8, learning_rate=0.01, warmup_steps=2, evaluate_every=4, patience=9)
    config = LLM4DSRConfig(tuning=TuningConfig(windows=24, held_out=8, lora=lora))
    found = tune(tiny, clean, tmp_path / "adapter", config)
    assert found.steps > 0
    tuned = LocalModel.load(tiny_folder, device="cpu", dtype="float32", adapter=found.folder)
    windows = corrupted(clean, config.tuning, seed=9)
    examples = passages(windows, clean.catalogue, config.tuning, tiny.tokenizer.eos_token)[:12]
    assert tiny.tokens.passages(examples)[0].tokens[-1] == tiny.tokenizer.eos_token_id
    loss = [-np.mean([s.log_probabilities.sum() for s in model.score(examples)]) for model in (tiny, tuned)]
    assert loss[1] < loss[0] - 5
    assert tune(tiny, clean, tmp_path / "adapter", config) == found  # not fitted again


def test_what_cannot_be_tuned_on_is_refused(tiny: LocalModel, untitled, tmp_path):
    with pytest.raises(InputError, match="no window has two titled items"):
        tune(tiny, untitled, tmp_path / "adapter", LLM4DSRConfig())
    single = Sequences.from_lists({"ann": ["a"], "bob": ["b"]}, {"a": "Alien", "b": "Brazil"})
    with pytest.raises(InputError, match="no window has two titled items"):
        tune(tiny, single, tmp_path / "adapter", LLM4DSRConfig())
