import numpy as np
import pytest

from seqmend.errors import InputError
from seqmend.interactions import leave_one_out
from seqmend.llm import CountingModel
from seqmend.menders.augment import AugmentConfig, tune
from seqmend.menders.augment.forecast import forecast
from seqmend.menders.augment.tuning import examples

SHORT = {"enabled": True, "lora": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 0}}


def test_examples_are_real_neighbours_and_never_the_last_item(log):
    train = leave_one_out(log).train
    titles = log.catalogue.prompt_titles
    passages = examples(train, AugmentConfig())
    assert len(passages) == (train.lengths >= 4).sum()
    pairs = {
        (titles[a], titles[b]) for real in train for a, b in zip(real[:-2].tolist(), real[1:-1].tolist(), strict=True)
    }
    for number, passage in enumerate(passages):
        (prompt, answer), latest = passage.parts, passage.parts[0].splitlines()[-1]
        pair = (answer.strip(), latest) if number % 2 == 0 else (latest, answer.strip())
        assert pair in pairs
        assert ("latest first" in prompt) == (number % 2 == 0)
        assert passage.scored == (False, True)


def test_too_short_histories_teach_nothing(make_log):
    with pytest.raises(InputError, match="nothing to tune"):
        examples(leave_one_out(make_log([3, 4, 5])).train, AugmentConfig())


def test_a_tuned_model_finds_real_neighbours_likelier(log, tiny, tiny_folder, tmp_path):
    train = leave_one_out(log).train
    config = AugmentConfig(tuning=SHORT)
    known = examples(train, config)
    before = np.mean([score.log_probabilities.sum() for score in tiny.score(known)])
    adaptation = tune(tiny, train, tmp_path / "adapter", config)
    tuned = type(tiny).load(tiny_folder, device="cpu", dtype="float32", adapter=adaptation.folder)
    assert np.mean([score.log_probabilities.sum() for score in tuned.score(known)]) > before + 0.1


def test_the_forecast_counts_users_and_kinds_of_questions(log, tiny):
    train = leave_one_out(log).train

    def calls(selection="model", **settings):
        parts = forecast(
            AugmentConfig(selection=selection, **settings), train, log.lengths, CountingModel(tiny.tokenizer)
        )
        return [part.usage.calls for part in parts]

    n_several = int((train.lengths > 1).sum())
    assert calls(sample_users=9) == [9, 48, 48]
    assert calls(sample_users=0, crossfit=True) == [48, n_several, 48]
    assert calls(sample_users=0, one_item="median") == [48, n_several]
    assert calls("auto") == calls("rank") == [len(log.catalogue)]  # the titles, each once
    assert calls("rank", candidates="reversed") == []
    assert calls("auto", candidates="reversed", sample_users=0) == [48, 48]
    assert calls(sample_users=0, augment_up_to=4) == [int((log.lengths <= 4).sum())] * 2
    written = forecast(
        AugmentConfig(selection="model", answers="numbers"), train, log.lengths, CountingModel(tiny.tokenizer)
    )
    assert all(part.usage.completion_tokens == 64 * part.usage.calls for part in written)


def test_what_the_sample_costs_does_not_depend_on_who_is_augmented(log, tiny):
    train = leave_one_out(log).train

    def sample(**settings):
        config = AugmentConfig(selection="model", sample_users=20, **settings)
        return forecast(config, train, log.lengths, CountingModel(tiny.tokenizer))[0].usage

    assert sample(augment_up_to=0) == sample(augment_up_to=4) == sample()
    assert sample().prompt_tokens > 0
