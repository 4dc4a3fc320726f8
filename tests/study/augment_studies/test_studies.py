import json
import xml.etree.ElementTree as ElementTree

import pytest

from seqmend.errors import InputError
from seqmend.report import study_chart_svg
from seqmend.study.augment_studies import ABLATIONS, ARMS, augment_comparison, augment_sweep

OPTIONS = [
    "--set", "language.encoder=none", "--set", "backbone.embedding_size=16", "--set", "backbone.n_layers=1",
    "--set", "backbone.n_heads=1", "--set", "backbone.max_length=12", "--set", "augment.n_candidates=6",
    "--epochs", "2", "--items-per-user", "2", "--jobs", "1",
]  # fmt: skip


def drawn(figures) -> str:
    """All texts of the study's figure, which is well-formed SVG and JSON can hold its data."""
    svg = study_chart_svg(json.loads(json.dumps(figures, allow_nan=False)))
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_every_arm_is_measured_by_group_history_and_protocol_and_a_second_run_trains_nothing(make_setting, tmp_path):
    setting = make_setting()
    arms = ["duplicate", "asrep", "random_m"]
    figures = augment_comparison(setting, tmp_path / "out", arms=arms, jobs=1)
    assert figures["ours"] == "llm_free"
    rows = {(row["arm"], row["test_history"], row["ranking"], row["group"]): row for row in figures["rows"]}
    groups = set(figures["groups"]["users"])
    assert groups == {"all", "short", "medium", "long", "tail", "head"}
    shown = {arm: ["as_is"] for arm in ("raw", "duplicate")}
    shown |= {arm: ["as_is", "mended"] for arm in ("asrep", "random_m", "llm_free")}
    expected = {
        (arm, history, ranking, group)
        for arm, histories in shown.items()
        for history in histories
        for ranking in ("full", "sampled")
        for group in groups
    }
    assert set(rows) == expected
    for row in rows.values():
        for metric in ("ndcg@10", "hr@10"):
            low, high = row[metric]["ci95"]
            assert low <= row[metric]["mean"] <= high
    assert rows["raw", "as_is", "full", "all"]["ndcg@10"]["difference"]["difference"] == 0
    for arm in ("raw", "llm_free"):  # fewer competitors, better ranks
        means = [rows[arm, "as_is", ranking, "all"]["ndcg@10"]["mean"] for ranking in ("sampled", "full")]
        assert means[0] > means[1]
    beside = {(row["other"], row["group"], row["metric"], row["ranking"]): row for row in figures["beside_ours"]}
    found = beside["random_m", "short", "ndcg@10", "full"]
    means = [rows[arm, "mended", "full", "short"]["ndcg@10"]["mean"] for arm in ("llm_free", "random_m")]
    assert found["difference"] == pytest.approx(means[0] - means[1])
    assert found["ci95"][0] <= found["difference"] <= found["ci95"][1]
    sizes = figures["groups"]["users"]
    whole = rows["llm_free", "mended", "full", "all"]["hr@10"]["mean"] * sizes["all"]
    parts = sum(
        rows["llm_free", "mended", "full", group]["hr@10"]["mean"] * sizes[group]
        for group in ("short", "medium", "long")
    )
    assert whole == pytest.approx(parts)
    assert figures["arms"]["raw"] is figures["arms"]["duplicate"] is None
    assert figures["arms"]["llm_free"]["cost"]["calls"] == 0
    assert "Mender without model" in drawn(figures)

    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "stages").iterdir()}
    assert len(written) == 5 * 2
    assert augment_comparison(setting, tmp_path / "out", arms=arms, jobs=1) == figures
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_the_language_model_selects_and_what_that_costs_is_told(make_setting, tiny_folder, tmp_path):
    setting = make_setting(
        language={"model": str(tiny_folder), "encoder": None}, seeds=[42], max_users=24, training={"epochs": 1}
    )
    figures = augment_comparison(setting, tmp_path, arms=["top_m", "permuted_weight"], jobs=1)
    assert figures["ours"] == "mended"
    facts = figures["arms"]
    assert facts["mended"]["cost"]["calls"] > 24 > facts["top_m"]["cost"]["calls"] == 0
    assert facts["mended"]["cost"] == facts["permuted_weight"]["cost"]  # one mender, asked once
    assert facts["mended"]["reliability"]["r_minus_r0"]["users"] > 0
    assert "Mender" in drawn(figures)


def test_other_backbones_are_trained_on_the_same_items(make_setting, tmp_path):
    setting = make_setting(seeds=[42], training={"epochs": 1, "batch_size": 16}, max_users=30)
    backbones = ["sasrec", "gru4rec", "bert4rec"]
    figures = augment_comparison(setting, tmp_path, arms=["duplicate"], backbones=backbones, jobs=1)
    assert {row["backbone"] for row in figures["rows"]} == set(backbones)
    assert len(list((tmp_path / "ledgers").glob("*.json"))) == 1
    with pytest.raises(InputError, match="no backbone 'halo'"):
        augment_comparison(setting, tmp_path, backbones=["halo"])


def test_a_sweep_moves_one_thing_at_a_time(make_setting, tmp_path):
    setting = make_setting(seeds=[42], augment={"long_after": 4, "decay": 0.5})
    figures = augment_sweep(setting, tmp_path, n_items=(1, 2), decays=(0.0, 0.5), long_after=(4, 3), jobs=1)
    rows = {(row["parameter"], row["value"]): row for row in figures["rows"]
            if (row["group"], row["ranking"]) == ("all", "full") and row["test_history"] != "as_is"}  # fmt: skip
    assert list(rows) == [("M", 1), ("M", 2), ("beta", 0.0), ("beta", 0.5), ("T", 3), ("T", 4)]
    own = [rows[place]["ndcg@10"] for place in (("M", 2), ("beta", 0.5), ("T", 4))]
    assert own[0] == own[1] == own[2]  # what the settings say anyway is trained once
    assert len({rows[place]["ndcg@10"]["mean"] for place in rows}) > 1
    assert len(list((tmp_path / "stages").glob("ranks-*"))) == 1 + 4
    assert "not augmented" in drawn(figures)
    for bad in ({"n_items": (0,)}, {"decays": (1.5,)}, {"n_items": (), "decays": ()}):
        with pytest.raises(InputError, match="cannot be swept"):
            augment_sweep(setting, tmp_path, **bad)


def test_every_arm_has_a_name_of_its_own(make_setting):
    from seqmend.report import augment_arm_name

    names = [augment_arm_name(arm) for arm in {**ARMS, **ABLATIONS}]
    assert len(set(names)) == len(names)
    assert not set(names) & {*ARMS, *ABLATIONS}


def test_commands_print_their_tables_and_write_figures_and_charts(seqmend, short_log, tmp_path):
    files = ["--out", tmp_path / "out", "--json", tmp_path / "figures.json", "--figure", tmp_path / "figure.svg"]
    common = ["--model", "none", "--seeds", "1", "--groups", "4,6", *OPTIONS, *files]
    code, out, err = seqmend("bench", "augment", short_log, "--arms", "duplicate,random_m", *common)
    assert code == 0, err
    assert "100 negatives" in out or "sampled" not in out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["corpus"], figures["seeds"], figures["n_items"]) == (short_log.name, [1], 2)
    assert figures["groups"]["cuts"] == [4, 6]
    assert (tmp_path / "figure.svg").read_text().startswith("<svg")
    arms = ["--arms", "context_only,popular_pool"]
    code, out, err = seqmend("bench", "augment-ablation", short_log, *arms, *common)
    assert code == 0, err
    assert json.loads((tmp_path / "figures.json").read_text())["study"] == "augment-ablation"
    code, out, err = seqmend("bench", "augment-sweep", short_log, "--items", "1", "--betas", "1", *common)
    assert code == 0, err
    assert "beta" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["augment", "nowhere-at-all"], "nowhere-at-all"),
        (["augment", "{folder}", "--arms", "halo"], "'halo'"),
        (["augment", "{folder}", "--backbones", "halo"], "backbone.name does not fit"),
        (["augment", "{folder}", "--groups", "tall"], "'tall'"),
        (["augment", "{folder}", "--backbones", "sasrec,halo"], "no backbone 'halo'"),
        (["augment", "{folder}", "--seeds", "first"], "no whole numbers"),
        (["augment", "{folder}", "--mean-over", "items"], "'items'"),
        (["augment-sweep", "{folder}", "--items", "few"], "no list of numbers"),
        (["augment-sweep", "{folder}", "--items", "0"], "cannot be swept"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(seqmend, short_log, tmp_path, arguments, message):
    given = [argument.format(folder=short_log) for argument in arguments]
    code, _, err = seqmend("bench", *given, "--model", "none", *OPTIONS, "--out", tmp_path / "out")
    assert code == 2, err
    assert message in err.replace("\n", " ")
    assert not (tmp_path / "out").exists()
