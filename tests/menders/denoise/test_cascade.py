import numpy as np
import pytest

from seqmend.errors import BudgetExceeded
from seqmend.llm import Budget, Journal, JournaledModel
from seqmend.menders.denoise import WINDOW_WITNESS, DenoiseConfig, Denoiser
from seqmend.menders.denoise.cascade import ask_while_paid, by_expected_change, most_windows
from seqmend.menders.denoise.windows import mean_by_position

CONFIG = DenoiseConfig(tuning_windows=60, language_replacements=5, networks=False)


def test_windows_in_doubt_come_first():
    confidence = np.array([[0.01, 0.01, np.nan], [0.5, 0.02, 0.1], [0.99, 0.9, 0.02], [0.2, 0.2, 0.2]])
    assert by_expected_change(confidence).tolist() == [3, 1, 2, 0]


def test_the_lower_of_number_and_share_holds():
    assert most_windows(DenoiseConfig(), 80) == 80
    assert most_windows(DenoiseConfig(language_windows=30), 80) == 30
    assert most_windows(DenoiseConfig(language_windows=30), 80, limit=90) == 80
    assert most_windows(DenoiseConfig(language_windows=30, language_share=0.26), 80) == 21
    assert most_windows(DenoiseConfig(language_share=0.0), 80, limit=9) == 0
    assert most_windows(DenoiseConfig(language_windows=0), 80, limit=9) == 0


def test_what_was_paid_for_is_used():
    paid = set(range(40)) - {33}

    def ask(rows):
        if set(rows.tolist()) - paid:
            raise BudgetExceeded("spent")
        return [10 * row for row in rows.tolist()]

    rows = np.arange(99)
    assert ask_while_paid(rows, ask) == {row: 10 * row for row in paid}
    assert ask_while_paid(rows[::-1], ask) == {}


@pytest.fixture(scope="module")
def asked_for_everything(spoiled, encoder, tiny_folder, tmp_path_factory):
    """The mender that may ask what it wants, its verdicts, and what fitting cost."""
    from seqmend.llm import LocalModel

    tiny = LocalModel.load(tiny_folder, device="cpu", dtype="float32")
    model = JournaledModel(tiny, Journal(tmp_path_factory.mktemp("journal") / "journal.sqlite"))
    mender = Denoiser(CONFIG, encoder, model).fit(spoiled[0])
    cost_of_fitting = tiny.usage.calls
    verdicts = mender.judge(spoiled[0])
    assert verdicts.asked.all()
    return mender, verdicts, cost_of_fitting


def test_a_budget_that_ends_amid_the_windows_leaves_the_rest_their_cheap_verdict(
    spoiled, encoder, tiny, tmp_path, asked_for_everything
):
    mender, full, cost = asked_for_everything
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal, Budget(calls=cost + 300))
        verdicts = Denoiser(CONFIG, encoder, model).fit(spoiled[0]).judge(spoiled[0])
    assert tiny.usage.calls <= cost + 300
    assert 30 < verdicts.asked.sum() < len(full.asked)
    cheap = mender.judge(spoiled[0], language_windows=0)
    assert WINDOW_WITNESS not in cheap.witnesses
    share_read = mean_by_position(np.repeat(verdicts.asked[:, None], 10, 1) * 1.0, verdicts.windows, spoiled[0])
    for share, expected in ((1, full), (0, cheap)):
        alike = share_read == share  # an interaction may stand in a window that was read and in one that was not
        assert alike.sum() > 50
        np.testing.assert_allclose(verdicts.fused[alike], expected.fused[alike], atol=1e-4)
    assert (np.abs(full.fused - cheap.fused) > 1e-6).mean() > 0.5


def test_a_budget_for_the_titles_alone_reads_no_window(spoiled, encoder, tiny, tmp_path):
    n_titles = len(spoiled[0].catalogue)
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal, Budget(calls=n_titles + 20))
        mender = Denoiser(CONFIG, encoder, model).fit(spoiled[0])
        verdicts = mender.judge(spoiled[0])
        assert not verdicts.asked.any()
        assert not np.isnan(verdicts.fused).any()
        assert len(mender.propose_from(verdicts)) > 10


@pytest.mark.parametrize("budget", [Budget(calls=47), Budget(tokens=3), Budget(seconds=0)])
def test_a_budget_smaller_than_the_titles_is_one_error(spoiled, encoder, tiny, tmp_path, budget):
    with Journal(tmp_path / "journal.sqlite") as journal, pytest.raises(BudgetExceeded, match="is spent"):
        Denoiser(CONFIG, encoder, JournaledModel(tiny, journal, budget)).fit(spoiled[0])


def test_a_reading_that_is_not_trusted_is_not_asked_for(spoiled, asked_for_everything, monkeypatch):
    mender, _, _ = asked_for_everything
    monkeypatch.setattr(mender._window, "trust", 0.0)
    verdicts = mender.judge(spoiled[0])
    assert not verdicts.asked.any()


def test_a_mender_that_shall_read_no_window_reads_titles_alone(spoiled, encoder, tiny, tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        model = JournaledModel(tiny, journal)
        config = CONFIG.model_copy(update={"language_windows": 0})
        mender = Denoiser(config, encoder, model).fit(spoiled[0])
        assert model.usage.calls == len(spoiled[0].catalogue)
        assert not mender.judge(spoiled[0], language_windows=9).asked.any()
        assert model.usage.calls == len(spoiled[0].catalogue)
