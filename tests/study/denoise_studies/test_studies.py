import json
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import polars as pl
import pytest

from seqmend import cli
from seqmend.errors import InputError
from seqmend.interactions import Sequences
from seqmend.progress import silent
from seqmend.report import study_chart_svg
from seqmend.study.denoise_studies import (
    Setting,
    denoise_cost,
    denoise_noise,
    denoise_threshold,
    denoise_transfer,
)
from seqmend.study.denoise_studies.setting import draw_users, with_random_titles
from seqmend.study.denoise_studies.summary import over_seeds

DETECTION = {"auroc", "auprc", "ece", "ece_above_0.2", "precision", "recall", "f1", "share_edited"}


def drawn(figures) -> str:
    """All texts of the study's figure, which is well-formed SVG and JSON can hold its data."""
    svg = study_chart_svg(json.loads(json.dumps(figures, allow_nan=False)))
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_a_higher_threshold_flags_less_and_finds_less(setting, tmp_path):
    figures = denoise_threshold(setting, ("uniform", 0.1), tmp_path, thresholds=(0.9, 0.1, 0.5))
    assert [row["threshold"] for row in figures["rows"]] == [0.1, 0.5, 0.9]
    assert set(figures["rows"][0]) == DETECTION | {"judge", "threshold"}
    for key in ("recall", "share_edited"):
        means = [row[key]["mean"] for row in figures["rows"]]
        assert means == sorted(means, reverse=True), key
        assert means[0] > means[-1]
    assert figures["noise_rate"]["injected"]["mean"] == pytest.approx(0.1, abs=1e-3)
    assert "Share edited" in drawn(figures)


def test_training_on_each_mended_log_stands_beside_raw_and_oracle(setting, tmp_path):
    figures = denoise_threshold(setting, ("uniform", 0.1), tmp_path, thresholds=(0.3,), train=True)
    (row,) = figures["rows"]
    for history in ("as_is", "mended"):
        for metric in ("ndcg@10", "ndcg@20"):
            assert set(row["ranking"][history][metric]) == {"mean", "ci95", "difference", "recovered_share"}
    assert set(figures["references"]) == {"raw", "oracle"}
    assert "NDCG@20 of SASRec on the mended log" in drawn(figures)


def test_no_noise_is_measured_once_and_edits_there_are_false_alarms(setting, tmp_path):
    figures = denoise_noise(setting, tmp_path, kinds=("uniform", "insertion"), ratios=(0, 0.1))
    places = [(row["kind"], row["ratio"]) for row in figures["rows"]]
    assert places == [(None, 0.0), ("uniform", 0.1), ("insertion", 0.1)]
    clean, noisy = figures["rows"][0], figures["rows"][1]
    assert set(noisy) == DETECTION | {"kind", "ratio", "judge", "estimated", "injected"}
    assert clean["injected"]["mean"] == 0
    assert clean["auroc"]["mean"] is clean["recall"]["mean"] is None
    assert clean["share_edited"]["mean"] < 0.02 < noisy["share_edited"]["mean"]
    assert noisy["auroc"]["mean"] > 0.85
    holds = {row["kind"]: row["holds"] for row in figures["calibration"]}
    for row in figures["rows"]:
        assert holds[row["kind"]] == (row["ece"]["mean"] <= 0.03)
    assert "Calibration error" in drawn(figures)


def test_learning_elsewhere_and_here_are_judged_on_the_same_noise(log_files, tmp_path, make_log, make_config):
    denoise = {"corruption_rounds": 6, "networks": True}  # left out, as they would know one catalogue alone
    other, setting = (
        Setting.read(make_config(*files, denoise=denoise), silent)
        for files in (make_log(tmp_path, n_users=100), log_files)
    )
    figures = denoise_transfer(other, setting, ("uniform", 0.1), tmp_path / "out")
    rows = {(row["learned_on"], row["judge"]): row for row in figures["rows"]}
    assert {("target", "fused"), ("source", "fused"), ("witness", "popularity")} <= set(rows)
    assert rows["source", "fused"]["auroc"]["mean"] > 0.85
    gap = rows["source", "fused"]["auroc"]["mean"] - rows["target", "fused"]["auroc"]["mean"]
    assert figures["lost"][0]["difference"]["mean"] == pytest.approx(gap)
    assert figures["source"]["users"] == 100
    assert "AUROC" in drawn(figures)


def test_the_model_costs_tokens_by_what_it_reads(log_files, make_config, tiny_folder, tmp_path):
    config = make_config(
        *log_files,
        language={"model": str(tiny_folder), "encoder": None},
        denoise={"tuning_windows": 50, "corruption_rounds": 6},
        seeds=[0],
    )
    figures = denoise_cost(Setting.read(config, silent), ("uniform", 0.1), tmp_path, shares=(0, 1))
    rows = {row["share"]: row for row in figures["rows"]}
    assert list(rows) == [None, 0, 1]
    assert rows[None]["tokens"]["mean"] == rows[0]["tokens"]["mean"] == 0
    assert rows[0]["windows_asked"]["mean"] == 0
    assert rows[1]["windows_asked"]["mean"] in (0, rows[1]["windows"]["mean"])  # none where reading is not trusted
    assert (rows[1]["tokens"]["mean"] > 0) == (rows[1]["windows_asked"]["mean"] > 0)
    assert figures["fitting"]["with_model"]["tokens"]["mean"] > 0 == figures["fitting"]["llm_free"]["tokens"]["mean"]
    assert rows[0]["gain"]["by_seed"][0]["ci95"][0] <= rows[0]["gain"]["mean"]
    assert "Tokens" in drawn(figures)


def test_drawn_users_keep_their_sequences_and_titles():
    log = Sequences.from_lists({f"u{n}": [f"i{n}", f"i{n + 1}", "x"] for n in range(9)}, None)
    part = draw_users(log, 4, np.random.default_rng(0))
    assert len(part) == 4
    expected = {row: log.catalogue.item_ids.gather(log[n]).to_list() for n, row in enumerate(log.user_ids.to_list())}
    for number, user in enumerate(part.user_ids.to_list()):
        assert part.catalogue.item_ids.gather(part[number]).to_list() == expected[user]
    assert len(part.catalogue) == len(np.unique(part.items))
    assert draw_users(log, 9, np.random.default_rng(0)) is log


def test_random_titles_say_nothing_and_change_nothing_else(setting):
    before = setting.clean.sequences
    after = with_random_titles(before, np.random.default_rng(0))
    np.testing.assert_array_equal(after.items, before.items)
    titles = after.catalogue.titles.to_list()
    assert titles[0] is None
    assert len(set(titles)) == len(titles)
    assert not set(titles[1:]) & set(before.catalogue.titles.to_list())


def test_intervals_over_seeds():
    assert over_seeds([0.2]) == {"mean": 0.2, "ci95": None}
    assert over_seeds([0.2, None]) == {"mean": None, "ci95": None}
    found = over_seeds([1.0, 2.0, 3.0])
    assert found["mean"] == 2.0
    assert found["ci95"] == pytest.approx([2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5])


def test_a_figure_of_something_else_is_refused():
    with pytest.raises(InputError, match="no figure for 'detect'"):
        study_chart_svg({"study": "detect"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["denoise-threshold", "nowhere-at-all"], "nowhere-at-all"),
        (["denoise-threshold", "{folder}", "--thresholds", "high"], "no list of numbers"),
        (["denoise-threshold", "{folder}", "--thresholds", "0,0.5"], "not in (0, 1]"),
        (["denoise-noise", "{folder}", "--kinds", "loud"], "'loud' is not known"),
        (["denoise-noise", "{folder}", "--ratios", "1"], "not in [0, 1)"),
        (["denoise-ceiling", "{folder}", "--arms", "halo"], "'halo'"),
        (["denoise-ceiling", "{folder}", "--kind", "loud"], "'loud' is not known"),
        (["denoise-transfer", "{folder}", "{empty}"], "no interactions.parquet"),
        (["denoise-cost", "{folder}"], "there is none"),
        (["denoise-cost", "{folder}", "--titles", "none"], "own or random"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(arguments, message, log_files, tmp_path, monkeypatch, capsys):
    folder, empty = tmp_path / "corpus", tmp_path / "empty"
    folder.mkdir()
    empty.mkdir()
    for source, name in zip(log_files, ("interactions", "items"), strict=True):
        pl.read_csv(source).write_parquet(folder / f"{name}.parquet")
    given = [argument.format(folder=folder, empty=empty) for argument in arguments]
    options = ["--model", "none", "--set", "language.encoder=none", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["seqmend", "bench", *given, *options])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_command_prints_its_table_and_writes_figures_and_chart(log_files, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for source, name in zip(log_files, ("interactions", "items"), strict=True):
        pl.read_csv(source).write_parquet(folder / f"{name}.parquet")
    json_file, figure = tmp_path / "figures.json", tmp_path / "figure.svg"
    options = ["--model", "none", "--set", "language.encoder=none", "--set", "denoise.corruption_rounds=6"]
    options += ["--thresholds", "0.2,0.5", "--seeds", "1", "--out", tmp_path / "out"]
    options += ["--json", json_file, "--figure", figure]
    monkeypatch.setattr(sys, "argv", ["seqmend", "bench", "denoise-threshold", *map(str, [folder, *options])])
    cli.main()
    assert "precision" in capsys.readouterr().out
    figures = json.loads(json_file.read_text())
    assert (figures["corpus"], figures["users"], len(figures["rows"])) == ("corpus", 120, 2)
    assert figure.read_text().startswith("<svg")
