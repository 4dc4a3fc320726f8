import pytest


def options(files, tiny_folder):
    interactions, items = files
    sizes = ("--set", "denoise.tuning_windows=50", "--set", "denoise.language_windows=20")
    model = ("--model", tiny_folder, "--set", "language.encoder=none")
    return ("--interactions", interactions, "--items", items, *model, *sizes, "--dry-run")


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(seqmend, noisy_files, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = options(noisy_files, tiny_folder)
    code, out, _ = seqmend("run", *given)
    assert code == 0
    assert "20 of 240" in out
    assert "Tokens per second" in out
    assert "Trainings: 20 (raw, random, llm_free, mended; 5 seeds)" in out
    assert "udget" not in out
    prices = ("--set", "language.prompt_price=2.5", "--set", "language.max_money=0.01")
    code, out, _ = seqmend("run", *given, "--rate", 1000, *prices)
    assert code == 0
    assert "money" in out
    assert "The budget ends after" in out
    code, out, _ = seqmend("run", *given, "--rate", 1000, "--set", "language.max_calls=10")
    assert "Without all titles the run stops" in out
    code, out, _ = seqmend("run", *given, "--rate", 1000, "--set", "language.max_calls=100000")
    assert "pays for all of it" in out
    code, out, _ = seqmend("run", *given, "--model", "none")
    assert "No language model would be asked" in out
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [(("--rate", 0), "no rate"), (("--set", "training.epochs=0"), "epochs"), (("--items", "nowhere.csv"), "nowhere")],
)
def test_a_dry_run_refuses_what_a_run_would(seqmend, noisy_files, tiny_folder, more, message):
    code, _, err = seqmend("run", *options(noisy_files, tiny_folder), *more)
    assert (code, message in err) == (2, True)
