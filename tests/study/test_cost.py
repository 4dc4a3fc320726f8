import pytest

from seqmend.errors import InputError
from seqmend.study import estimate, run


def settings(log_files, make_config, tiny_folder, **language):
    return make_config(
        *log_files,
        language={"model": str(tiny_folder), "encoder": None, "test_windows": 30, **language},
        denoise={"tuning_windows": 60, "language_windows": 60, "noise_rate": 0.1},
        arms=["raw", "mended", "oracle"],
        training={"epochs": 1},
        seeds=[0],
    )


@pytest.fixture
def trusted(monkeypatch):
    """The reading of a model of random weights has shown nothing; here it is trusted all the same."""
    monkeypatch.setattr("seqmend.menders.denoise.fusion.best_trust", lambda *_: 0.5)


def n_tokens(used):
    return used["prompt_tokens"] + used["completion_tokens"]


@pytest.mark.usefixtures("trusted")
def test_a_run_asks_what_was_foreseen(log_files, make_config, tiny_folder, tmp_path):
    config = settings(log_files, make_config, tiny_folder)
    foreseen = estimate(config, rate=1000)
    used = run(config, tmp_path / "run")["llm"]
    assert (used["windows_asked"], used["windows_total"]) == (90, 480)
    assert [part["windows"] for part in foreseen["parts"]] == [None, 60, 60, 30]
    assert foreseen["total"]["calls"] == pytest.approx(used["calls"], rel=0.1)
    assert n_tokens(foreseen["total"]) == pytest.approx(n_tokens(used), rel=0.1)
    assert foreseen["total"]["seconds"] == pytest.approx(n_tokens(foreseen["total"]) / 1000)
    assert foreseen["trainings"] | {"targets": 0} == {
        "n": 3, "arms": ["raw", "mended", "oracle"], "seeds": 1, "epochs": 1, "targets": 0,
    }  # fmt: skip


@pytest.mark.usefixtures("trusted")
def test_where_the_budget_ends_is_foreseen(log_files, make_config, tiny_folder, tmp_path):
    whole = estimate(settings(log_files, make_config, tiny_folder), rate=1000)
    titles, tuning, train, _ = whole["parts"]
    calls = titles["calls"] + tuning["calls"] + train["calls"] // 2
    short = settings(log_files, make_config, tiny_folder, max_calls=calls, max_seconds=1e6)
    foreseen = estimate(short, rate=1000)
    assert (foreseen["ends"]["purpose"], foreseen["ends"]["view"]) == ("windows", "train")
    assert foreseen["ends"]["share"] == pytest.approx(0.5, abs=0.05)
    assert foreseen["budget"]["calls"] == {"limit": calls, "wanted": whole["total"]["calls"]}
    used = run(short, tmp_path / "run")["llm"]
    assert used["calls"] <= calls
    assert 0 < used["windows_asked"] < 90
    priced = settings(log_files, make_config, tiny_folder, max_money=1e-6, prompt_price=2.5)
    assert estimate(priced, rate=1000)["ends"]["purpose"] == "titles"


def test_what_cannot_be_foreseen_is_refused(log_files, make_config, tiny_folder):
    config = settings(log_files, make_config, tiny_folder)
    published = config.denoise.model_copy(update={"method": "llm4dsr"})
    with pytest.raises(InputError, match="cannot be foreseen"):
        estimate(config.model_copy(update={"denoise": published}))


def test_a_served_model_is_foreseen_to_take_what_the_same_one_takes_here(log_files, make_config, tiny_folder, served):
    here = estimate(settings(log_files, make_config, tiny_folder), rate=1000)
    server = {"base_url": f"{served}/exact/v1"}
    afar = estimate(settings(log_files, make_config, "server:tiny", server=server, prompt_price=2.0))
    assert [part["calls"] for part in afar["parts"]] == [part["calls"] for part in here["parts"]]
    for part, same in zip(afar["parts"], here["parts"], strict=True):
        assert n_tokens(part) == pytest.approx(n_tokens(same), rel=0.15), part["purpose"]
    assert afar["total"]["money"] == pytest.approx(2e-6 * afar["total"]["prompt_tokens"])
    assert set(afar["rates"]) == set(here["rates"])
