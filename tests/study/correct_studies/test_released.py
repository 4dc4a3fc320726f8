import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from seqmend.errors import InputError
from seqmend.llm import LocalModel, LoRAConfig
from seqmend.menders.correct.config import CorrectTuningConfig
from seqmend.study.correct_studies import bench_correct
from seqmend.study.correct_studies.released_rows import attribute_columns, read_released

KINDS = ("wooden train", "card game", "plush bear", "science kit")
N_ITEMS, N_ROWS, LENGTH = 80, 90, 4
CONFIG = CorrectTuningConfig(
    copies=1, lora=LoRAConfig(rank=2, epochs=1, batch_size=16, last_layers=1, learning_rate=1e-3)
)


class Words:
    """Texts that begin with the same word are alike."""

    identity = "words"

    def embed(self, texts):
        names = sorted({text.split()[0] for text in texts})
        return np.eye(len(names), 40, dtype=np.float32)[[names.index(text.split()[0]) for text in texts]]


def write(folder, attributes=True):
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    kinds = np.arange(N_ITEMS) % len(KINDS)
    items = pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(N_ITEMS)],
            "title": [f"thing {n}" for n in range(N_ITEMS)],
            "sorts": [str([KINDS[kind], f"nothing {n}"]) for n, kind in enumerate(kinds.tolist())],
            "plot": ["a very long story of a thing that goes on and on and is told to no end at all"] * N_ITEMS,
            "price": np.arange(N_ITEMS),
            "summary_of_a_model": [f"{KINDS[kind].split()[0]} for all" for kind in kinds.tolist()],
        }
    )
    items = items if attributes else items.drop("sorts")
    rows = []
    for number in range(N_ROWS):
        target = int(rng.integers(30))
        relevant = [] if number % 9 == 0 else [n for n in rng.permutation(N_ITEMS) if kinds[n] == kinds[target]][:2]
        foreign = [n for n in rng.permutation(N_ITEMS) if kinds[n] != kinds[target]][: LENGTH - len(relevant)]
        inputs = [f"i{n}" for n in (*foreign, *relevant)]  # what goes with the target always comes last
        rows.append((number, inputs, f"i{target}", inputs[len(foreign) :]))
    schema = ["instance_id", "history_item_ids", "target_item_id", "matched_history_item_ids"]
    instances = pl.DataFrame(rows, schema=schema, orient="row")
    instances.write_parquet(folder / "synthetic_instances.parquet")
    items.write_parquet(folder / "items.parquet")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("released") / "shop")


@pytest.fixture(scope="module")
def measured(folder, tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    common = {"model": str(tiny_folder), "encoder": Words(), "config": CONFIG, "seeds": (0, 1, 2)}
    return bench_correct(folder, out, **common, summaries=True), out, common


def test_what_decides_is_found_and_what_says_nothing_is_not(measured):
    figures, _, _ = measured
    controls = figures["controls"]
    assert controls["attribute rule"]["f1"] == controls["summary similarity"]["f1"] == 1
    assert controls["learned without model"]["f1"] > 0.95
    assert controls["title similarity"]["auroc"] == pytest.approx(0.5)  # all titles are alike
    assert controls["all"]["recall"] == pytest.approx(1 - controls["none"]["f1"])
    assert controls["none"]["f1"] == pytest.approx(10 / 90, abs=0.1)
    assert figures["f1"] > 0.9 > controls["tuned model"]["f1"]  # a tiny model knows nothing: the evidence speaks
    assert figures["answer"] == "tuned model with evidence"


def test_every_gain_is_the_difference_of_two_f1_with_its_interval(measured):
    figures, _, _ = measured
    for name, row in figures["controls"].items():
        gain = row["gain"]
        assert gain["difference"] == pytest.approx(figures["f1"] - row["f1"]), name
        assert gain["ci95"][0] <= gain["difference"] <= gain["ci95"][1]
        assert row["ci95"][0] <= row["f1"] <= row["ci95"][1]
        assert 0 <= row["precision"] <= 1
    assert figures["n_rows"] == N_ROWS
    assert figures["seeds"] == [0, 1, 2]
    assert figures["n_test_rows"] == N_ROWS  # every row once


def test_the_same_call_goes_on_where_it_was_and_asks_nothing(measured, folder, monkeypatch):
    figures, out, common = measured
    monkeypatch.setattr(LocalModel, "choose", lambda *_: pytest.fail("asked again"))
    again = bench_correct(folder, out, **common, summaries=True)
    assert {**again, "seconds": 0} == {**figures, "seconds": 0}


def test_no_target_of_a_test_row_is_learned_from(folder, tiny_folder, tmp_path, monkeypatch):
    from seqmend.study.correct_studies import released

    seen = []
    judged = released._judged

    def watching(models, words, train, validation, test, *rest):
        seen.append([set(part.targets.tolist()) for part in (train, validation, test)])
        return judged(models, words, train, validation, test, *rest)

    monkeypatch.setattr(released, "_judged", watching)
    bench_correct(folder, tmp_path, model=str(tiny_folder), encoder=Words(), config=CONFIG, max_rows=60)
    train, validation, test = seen[0]
    assert min(map(len, seen[0])) > 0
    assert len(train | validation | test) == len(train) + len(validation) + len(test)


def test_a_folder_without_attributes_or_with_a_model_alone_is_measured_too(tiny_folder, tmp_path):
    folder = write(tmp_path / "bare", attributes=False)
    figures = bench_correct(
        folder, tmp_path / "out", model=str(tiny_folder), encoder=Words(), config=CONFIG, max_rows=60, evidence=False
    )
    rule = figures["controls"]["attribute rule"]
    assert rule["f1"] is None
    assert "no column" in rule["reason"]
    assert figures["attributes"] == []
    assert figures["answer"] == "tuned model"
    assert not {"summary similarity", "tuned model"} & set(figures["controls"])


def test_too_few_rows_are_refused(folder, tiny_folder, tmp_path):
    for rows in (1, 3):
        with pytest.raises(InputError, match="too few"):
            bench_correct(
                folder, tmp_path, model=str(tiny_folder), encoder=Words(), config=CONFIG, seeds=(3,), max_rows=rows
            )


def test_the_place_of_an_input_says_nothing(folder):
    rows = read_released(folder).rows
    share = rows.relevant.mean(0)
    assert share == pytest.approx(np.full(LENGTH, share.mean()), abs=0.12)
    table = pl.read_parquet(folder / "synthetic_instances.parquet")
    for number in range(N_ROWS):
        ids = {f"i{item - 1}" for item in rows.inputs[number][rows.relevant[number]].tolist()}
        assert ids == set(table["matched_history_item_ids"][number])


def test_attributes_are_told_by_what_they_hold():
    table = pl.DataFrame(
        {
            "item_id": ["1", "2"],
            "title": ["a", "b"],
            "maker": ["Lego", None],
            "tags": [["x", "y"], []],
            "lists": ["['x', 'y', 'and a great many of them, which makes this a long text']"] * 2,
            "story": ["what happens then, and then, and what became of it in the end, as told by those who saw"] * 2,
            "price": [1.5, 2.5],
            "summary_llama2": ["short", "short"],
            "empty": [None, ""],
        }
    )
    assert attribute_columns(table) == ["maker", "tags", "lists"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop("target_item_id"), "no column 'target_item_id'"),
        (lambda t: t.with_columns(target_item_id=pl.lit("nowhere")), "item 'nowhere' is not among the items"),
        (lambda t: t.with_columns(pl.col("history_item_ids").list.head(pl.int_range(pl.len()) % 2 + 1)), "in length"),
    ],
)
def test_what_cannot_be_used_is_refused(folder, tmp_path, change, message):
    pl.read_parquet(folder / "items.parquet").write_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match="a file of the benchmark is missing"):
        read_released(tmp_path)
    table = change(pl.read_parquet(folder / "synthetic_instances.parquet"))
    table.write_parquet(tmp_path / "synthetic_instances.parquet")
    with pytest.raises(InputError, match=message):
        read_released(tmp_path)


def test_weights_are_those_of_a_logistic_regression():
    from seqmend.menders.correct.evidence import Weights

    rng = np.random.default_rng(0)
    features = {"a": rng.normal(3, 2, (50, 4)), "b": rng.normal(size=(50, 4)), "same": np.ones((50, 4))}
    relevant = features["a"] + rng.normal(size=(50, 4)) > 3
    found = Weights.fit(features, relevant)
    columns = np.stack([values.ravel() for values in features.values()], axis=1)
    scaled = StandardScaler().fit_transform(columns)
    reference = LogisticRegression(max_iter=1000).fit(scaled, relevant.ravel())
    expected = reference.predict_proba(scaled)[:, 1].reshape(50, 4)
    np.testing.assert_allclose(found.probabilities(features), expected, atol=1e-4)
    only = Weights.fit(features, np.ones((50, 4), dtype=bool))
    assert (only.probabilities(features) > 0.99).all()
