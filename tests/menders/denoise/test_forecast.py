import numpy as np
import pytest

from seqmend.interactions import Catalogue
from seqmend.llm import CountingModel, Journal, JournaledModel, LocalModel, Usage
from seqmend.menders.denoise import DenoiseConfig, Denoiser, forecast, language

CONFIG = DenoiseConfig(
    tuning_windows=60, language_windows=70, language_replacements=40, threshold=0.3, edit="replace", networks=False
)


def amounts(now: Usage, before: Usage) -> np.ndarray:
    return np.array(
        [
            now.calls - before.calls,
            now.prompt_tokens - before.prompt_tokens,
            now.completion_tokens - before.completion_tokens,
        ]
    )


def test_the_forecast_is_what_is_asked(spoiled, encoder, tiny, tmp_path):
    noisy = spoiled[0]
    parts = forecast(CONFIG, noisy, {"train": (noisy, None)}, CountingModel(tiny.tokenizer), writes=True)
    assert [part.purpose for part in parts] == ["titles", "tuning", "windows", "replacements"]
    assert (parts[2].windows, parts[2].windows_total) == (70, 320)
    assert tiny.usage.calls == 0

    asked = [Usage()]
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal)
        model.embed(noisy.catalogue.prompt_titles[1:])
        asked.append(model.spent())
        mender = Denoiser(CONFIG, encoder, model).fit(noisy)
        asked.append(model.spent())
        verdicts = mender.judge(noisy)
        assert verdicts.asked.sum() == 70
        asked.append(model.spent())
        mender.propose_from(verdicts)
        asked.append(model.spent())
    for part, before, now in zip(parts, asked[:-1], asked[1:], strict=True):
        foreseen = amounts(part.usage, Usage())
        np.testing.assert_allclose(foreseen, amounts(now, before), rtol=0.1, err_msg=part.purpose)


def test_counting_counts_what_a_model_would(tiny, tmp_path):
    counting = CountingModel(tiny.tokenizer)
    texts = ["Toy Story 2", "七人の侍 and Ødipus", "Toy Story 2"]
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal)
        for asked in (counting, model):
            asked.embed(texts)
            asked.embed(texts[:1])
            asked.write(texts, 3)
        spent = model.spent()
    assert spent.calls == 4
    assert (counting.usage.calls, counting.usage.prompt_tokens) == (spent.calls, spent.prompt_tokens)


@pytest.mark.model
def test_titles_of_a_real_tokenizer_are_counted_exactly():
    model = LocalModel.load("smollm2-135m")
    counting = CountingModel(model.tokenizer)
    titles = ["Toy Story (1995)", "Lion King, The", "  Brazil", "Amélie & co", "2001", "七人の侍", "Alien\u00b3", "X"]
    catalogue = Catalogue.from_titles({f"i{number}": title for number, title in enumerate(titles)})
    items = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=np.int32)
    for asked in (counting, model):
        language.testimony(items, catalogue, asked)
    assert (counting.usage.calls, counting.usage.prompt_tokens) == (model.usage.calls, model.usage.prompt_tokens)
