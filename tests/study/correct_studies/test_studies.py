import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.evaluation import metric_values
from seqmend.report import study_chart_svg
from seqmend.study.correct_studies import (
    correct_ablations,
    correct_noise,
    correct_prompts,
    correct_selection,
)

JUDGES = ("model", "learned", "co-occurrence", "random")
NOISE = ("uniform", 0.1)


def drawn(figures) -> str:
    """All texts of the study's figure, which is well-formed SVG and JSON can hold its data."""
    svg = study_chart_svg(json.loads(json.dumps(figures, allow_nan=False)))
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_one_who_knows_the_kinds_undoes_noise_that_chance_does_not(setting, asked, tmp_path):
    figures = correct_noise(setting, NOISE, tmp_path, backbones=["sasrec"], judges=JUDGES)
    (found,) = figures["backbones"].values()
    of = {judge: groups["all"] for judge, groups in found["quality"].items()}
    for key in ("precision", "recall", "target_precision"):
        assert of["model"][key]["mean"] > of["random"][key]["mean"] + 0.3, key
    assert of["model"]["auroc"]["mean"] > 0.85
    gap = found["beside"]["random"]["all"]["f1"]
    assert 0 < gap["ci95"][0] < gap["difference"] < gap["ci95"][1]
    assert found["actions"][0]["random"] == found["actions"][0]["model"]
    for judge in JUDGES:
        parts = [found["quality"][judge][group]["noise_inputs"]["mean"] for group in ("low", "high")]
        assert sum(parts) == of[judge]["noise_inputs"]["mean"] > 20
    assert "Chance" in drawn(figures)


@pytest.fixture
def doubting(setting):
    """Settings by which targets that are likely noise go unasked."""
    correct = setting.config.correct.model_copy(update={"known_noise": 0.2, "uncertain_share": 0.3})
    return replace(setting, config=setting.config.model_copy(update={"correct": correct}))


def test_noise_targets_are_known_by_the_doubt_of_them(doubting, asked, tmp_path):
    versions = ["random", "doubted_dropped", "least_sure_dropped"]
    judges = ["model", "random", "learned"]
    figures = correct_noise(
        doubting, NOISE, tmp_path, backbones=["sasrec"], judges=judges, train=True, versions=versions
    )
    found = figures["backbones"]["sasrec"]
    of = {judge: groups["all"] for judge, groups in found["quality"].items()}
    for key in ("target_precision", "target_recall"):
        assert of["model"][key]["mean"] > of["random"][key]["mean"] + 0.3, key
    assert all(0 < n <= actions["model"]["drop"] for n, actions in zip(found["doubted"], found["actions"], strict=True))
    assert set(found["ranking"]) == {"raw", "oracle", "model", *versions}
    left = found["side_effects"][0]
    assert left["doubted_dropped"]["instances"] == left["least_sure_dropped"]["instances"] < 1


def test_a_second_study_asks_and_trains_nothing(setting, asked, tmp_path):
    figures = correct_noise(setting, NOISE, tmp_path, backbones=["sasrec"], judges=JUDGES, train=True)
    ranking = figures["backbones"]["sasrec"]["ranking"]
    assert set(ranking) == {"raw", "oracle", "oracle_uncertain", *JUDGES}
    for row in ranking.values():
        low, high = row["ndcg@10"]["ci95"]
        assert low <= row["ndcg@10"]["mean"] <= high
    side = figures["backbones"]["sasrec"]["side_effects"][0]
    assert side["oracle"]["instances"] == 1
    assert sum(side["model"]["lengths"]) == pytest.approx(1)
    n_asked = len(asked.questions)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "stages").iterdir()}
    assert correct_noise(setting, NOISE, tmp_path, backbones=["sasrec"], judges=JUDGES, train=True) == figures
    assert len(asked.questions) == n_asked
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_versions_are_trained_as_often_as_wanted_from_other_weights(setting, asked, tmp_path):
    options = {"backbones": ["sasrec"], "judges": ["model"], "versions": [], "train": True}
    once = correct_noise(setting, NOISE, tmp_path, **options)
    twice = correct_noise(setting, NOISE, tmp_path, **options, trainings=2)
    found = [figures["backbones"]["sasrec"]["ranking"] for figures in (once, twice)]
    assert set(found[0]) == set(found[1]) == {"raw", "oracle", "model"}
    values = {
        (version, name): metric_values(pl.read_parquet(path)["as_is"].to_numpy(), "ndcg@10").mean()
        for version in ("raw", "model")
        for path in (tmp_path / "stages").glob(f"ranks-*-{version}-*.parquet")
        for name in [path.stem.rsplit("-", 1)[1]]
    }
    seeds = setting.config.seeds
    assert {seed for _, seed in values} == {str(seed + apart) for seed in seeds for apart in (0, 1_000_000)}
    for version in ("raw", "model"):
        own = [value for (which, _), value in values.items() if which == version]
        assert found[1][version]["ndcg@10"]["mean"] == pytest.approx(np.mean(own))
        first = [value for (which, seed), value in values.items() if which == version and int(seed) in seeds]
        assert found[0][version]["ndcg@10"]["mean"] == pytest.approx(np.mean(first))


def test_every_signal_chooses_as_many(setting, asked, tmp_path):
    figures = correct_selection(setting, NOISE, tmp_path, signals=["native", "random"], shares=(0.1, 0.3))
    rows = {(row["signal"], row["share"]): row for row in figures["rows"]}
    for share in (0.1, 0.3):
        assert rows["native", share]["instances"] == rows["random", share]["instances"]
    assert rows["native", 0.1]["instances"]["mean"] < rows["native", 0.3]["instances"]["mean"]
    assert rows["native", 0.1]["spoiled"]["mean"] > rows["random", 0.1]["spoiled"]["mean"]
    assert "Whom to ask about" in drawn(figures)


def test_what_is_doubted_costs_no_question(doubting, asked, tmp_path):
    figures = correct_selection(doubting, NOISE, tmp_path, signals=["native"], shares=[0.3])
    (row,) = figures["rows"]
    assert 0 < row["calls"]["mean"] < row["instances"]["mean"]


def test_variants_of_the_question_leave_what_is_doubted_alone(doubting, asked, tmp_path):
    figures = correct_prompts(doubting, NOISE, tmp_path, variants=["shuffled_titles"])
    of = {variant: groups["all"] for variant, groups in figures["quality"].items()}
    assert of["model"]["f1"]["mean"] > of["shuffled_titles"]["f1"]["mean"] + 0.2
    assert of["shuffled_titles"]["target_recall"]["mean"] > 0.5


def test_versions_are_trained_with_equally_many_steps(setting, asked, tmp_path):
    arms = ["dropped", "weighted_down", "inputs_only", "first_candidate", "corrected_continued", "raw_continued"]
    steps: dict[str, set[tuple[str, int]]] = {}

    def watch(what, done, total):
        if "training, epoch" in what and done == total:
            version, _, epoch = what.partition(": training, ")
            steps.setdefault(version, set()).add((epoch, total))

    figures = correct_ablations(setting, NOISE, tmp_path, arms=arms, progress=watch)
    assert len(steps) == 2 * (len(arms) + 4)  # seeds, versions
    assert all(taken == next(iter(steps.values())) and len(taken) == 2 for taken in steps.values())
    assert set(figures["ranking"]) == {"raw", "corrected", "oracle", "oracle_uncertain", *arms}
    (side,) = {json.dumps(one["dropped"]["instances"]) for one in figures["side_effects"]}
    assert float(side) == pytest.approx(0.8, abs=0.01)
    assert figures["side_effects"][0]["inputs_only"]["instances"] == 1
    assert figures["beside"]["raw"]["ndcg@10"]["difference"] == pytest.approx(
        figures["ranking"]["corrected"]["ndcg@10"]["difference"]["difference"]
    )
    assert "Continued" in drawn(figures)


def test_a_log_without_noise_can_be_corrected(setting, asked, tmp_path):
    figures = correct_ablations(setting, ("uniform", 0.0), tmp_path, arms=["dropped"])
    assert set(figures["ranking"]) == {"raw", "corrected", "dropped"}
    assert figures["noise"] is None
    assert "Versions" in drawn(figures)


def test_knowledge_is_lost_under_other_titles_and_not_in_another_order(setting, asked, tmp_path):
    figures = correct_prompts(setting, NOISE, tmp_path, variants=["shuffled_order", "shuffled_titles", "no_plan"])
    f1 = {variant: groups["all"]["f1"]["mean"] for variant, groups in figures["quality"].items()}
    assert f1["shuffled_order"] == f1["model"] == f1["no_plan"] > f1["shuffled_titles"] + 0.3
    assert "shuffled titles" in drawn(figures).casefold()


@pytest.mark.parametrize(
    ("study", "options", "message"),
    [
        (correct_noise, {"backbones": ["spider"]}, "no backbone is called 'spider'"),
        (correct_noise, {"versions": ["blessed"]}, "no version is called 'blessed'"),
        (correct_selection, {"signals": ["hearsay"]}, "no signal is called 'hearsay'"),
        (correct_selection, {"shares": [0.0]}, "not in (0, 1]"),
        (correct_ablations, {"arms": ["halo"]}, "no arm is called 'halo'"),
        (correct_prompts, {"variants": ["louder"]}, "no variant is called 'louder'"),
    ],
)
def test_what_cannot_be_measured_is_refused(study, options, message, setting, tmp_path):
    with pytest.raises(InputError) as refused:
        study(setting, NOISE, tmp_path / "out", **options)
    assert message in str(refused.value)
    with pytest.raises(InputError, match="inserted item"):
        study(setting, ("insertion", 0.1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line_prints_and_writes_the_figures(seqmend, log_files, tiny_folder, tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for source, name in zip(log_files, ("interactions", "items"), strict=True):
        pl.read_csv(source).write_parquet(folder / f"{name}.parquet")
    sizes = (
        "backbone.embedding_size=16",
        "backbone.n_layers=1",
        "backbone.n_heads=1",
        "training.epochs=1",
        "correct.weighing.ask=all",
    )
    options = [part for size in (*sizes, "language.encoder=none") for part in ("--set", size)]
    files = ("--json", tmp_path / "f.json", "--figure", tmp_path / "f.svg", "--out", tmp_path / "o")
    less = ("--max-users", 30, "--seeds", 1, "--share", 0.1, "--backbones", "sasrec", *options)
    code, out, err = seqmend("bench", "correct-noise", folder, "--model", tiny_folder, *less, *files, "--train")
    assert code == 0, err
    assert "Corrections of what sasrec doubts" in out
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["backbones"]["sasrec"]["cost"][0]["stages"]["inputs"]["calls"] > 0
    assert (tmp_path / "f.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("option", [("--versions", "model"), ("--trainings", 2)])
def test_options_of_trainings_are_refused_where_nothing_is_trained(seqmend, log_files, option):
    code, _, err = seqmend("bench", "correct-noise", log_files[0], *option)
    assert code == 2
    assert "--train" in err
