import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.ledger import Ledger
from seqmend.report import write_report

VOID = {"meta", "link", "input", "br", "path", "line", "circle", "rect", "img"}


class Page(HTMLParser):
    """What a browser would make of the page: its tags with their attributes, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def read(run: Path) -> tuple[str, Page]:
    text = write_report(run).read_text(encoding="utf-8")
    return text, Page(text)


def rewrite(run: Path, **changes) -> None:
    path = run / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_page_is_small_whole_and_loads_nothing(run):
    text, page = read(run)
    assert len(text.encode()) < 5_000_000
    assert not page.open
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=[\"']((?:https?:)?//[^\"']+)", text)
    loading = [value for _, a in page.tags for key in ("src", "href", "srcset", "action") if (value := a.get(key))]
    assert {value[0] if value[0] == "#" else value for value in loading} == {"#", "data:,"}
    assert "url(" not in text
    assert "@import" not in text
    targets = {a["id"] for _, a in page.tags if "id" in a}
    assert {value[1:] for value in loading if value[0] == "#"} <= targets
    assert [path.name for path in run.iterdir() if path.name.endswith(".tmp")] == []


def test_every_chart_has_an_alternative_and_every_table_a_caption(run):
    _, page = read(run)
    charts = [a for a in page.named("svg") if "aria-hidden" not in a and a.get("aria-label") != ""]
    assert len(charts) > 10
    assert all(a["role"] == "img" and len(a["aria-label"]) > 20 for a in charts)
    assert len(page.named("caption")) == len(page.named("table"))


def test_hostile_texts_are_text(run):
    text, page = read(run)
    assert len(page.named("script")) == 1
    assert page.named("img") == []
    assert not [key for _, a in page.tags for key in a if key.startswith("on")]
    assert "\x1b" not in text
    assert "<img src=x onerror=alert(1)>" in page.text  # shown, not swallowed
    assert "</pre><script>alert(2)</script>" in page.text


def test_sections_stand_in_the_promised_order(run):
    text, _ = read(run)
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == [
        "Did the recommender get better?",
        "Was the noise found?",
        "What was changed",
        "Who gains?",
        "The data",
        "How it was made",
        "Honest notes",
    ]


def test_edits_are_judged_by_the_truth(run):
    _, page = read(run)
    ledger, truth = Ledger.read(run / "ledger.parquet").edits, pl.read_parquet(run / "noise_truth.parquet")
    joined = ledger.join(truth, on=["user_id", "position"])
    restored = (joined["item_after"] == joined["item_before_right"]).sum()
    assert f"Of {len(ledger)} accepted edits of training interactions, {len(joined)} (75%)" in page.text
    assert f"and {restored} put back the very item" in page.text
    wrong = page.text.split("Most confident that were wrong")[2]
    assert wrong.count("was the user’s own") == 5
    assert wrong.count("was noise") == 0


def test_rejected_and_test_view_edits_are_not_shown(run):
    ledger = Ledger.read(run / "ledger.parquet")
    edits = ledger.edits.with_columns(
        view=pl.when(pl.col("user_id") == "u1").then(pl.lit("test")).otherwise("view"),
        status=pl.when(pl.col("user_id") == "u2").then(pl.lit("rejected")).otherwise("status"),
    )
    Ledger(edits, ledger.data_id).write(run / "ledger.parquet")
    _, page = read(run)
    assert "Of 18 accepted edits" in page.text
    assert "user u1," not in page.text
    assert "user u2," not in page.text


def test_a_bare_run_has_a_page(run):
    bare = {"schema": 1, "dataset": {}, "arms": [], "comparisons": [], "recovered_share": [], "llm": None}
    (run / "metrics.json").write_text(json.dumps(bare))
    (run / "manifest.json").write_text(
        json.dumps({"versions": {}, "seeds": [], "inputs": {}, "device": {}, "stages": []})
    )
    for name in ("noise_truth.parquet", "config.toml", "mended/interactions.parquet"):
        (run / name).unlink()
    ledger = Ledger.read(run / "ledger.parquet")
    Ledger(ledger.edits.with_columns(evidence=pl.lit(None, pl.String), reason=pl.lit("")), ledger.data_id).write(
        run / "ledger.parquet"
    )
    _, page = read(run)
    assert not page.open
    assert "trained no recommender" in page.text
    assert "Nobody knows which of them are right" in page.text
    assert "Did the recommender get better?" not in page.text
    Ledger(ledger.edits.head(0), ledger.data_id).write(run / "ledger.parquet")
    assert "No edit of a training interaction was accepted" in read(run)[1].text


@pytest.mark.parametrize("missing", ["detection", "arm_intervals", "edits", "comparisons", "recovered_share"])
def test_any_extra_may_be_missing(run, metrics, missing):
    del metrics[missing]
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert not read(run)[1].open


def test_detection_without_extras_and_without_meaning(run):
    plain = {
        "auroc": None,
        "auprc": None,
        "precision": 0.0,
        "recall": None,
        "f1": 0.0,
        "top1": None,
        "ece": 0.1,
        "n": 7,
    }
    rewrite(run, detection={**plain, "controls": {"llm_free": plain}})
    assert "Was the noise found?" in read(run)[0]


def test_the_raw_log_is_said_to_stand_with_histories_as_they_are_where_it_does(run, metrics):
    said = "it stands here with test histories as they are"
    assert read(run)[1].text.count(said) == 1
    raw = metrics["arms"][0]
    rewrite(run, arms=[*metrics["arms"], {**raw, "test_history": "mended"}])
    assert said not in read(run)[1].text


def test_several_backbones_have_their_own_charts(run, metrics):
    metrics["arms"] += [{**arm, "backbone": "GRU4Rec"} for arm in metrics["arms"]]
    rewrite(run, arms=metrics["arms"])
    _, page = read(run)
    assert "NDCG@10 of GRU4Rec for every version" in page.text
    names = [a["name"] for a in page.named("input")]
    assert {"metric-1", "metric-2", "edits-1"} == set(names)


def test_other_kinds_of_edits_say_what_became_of_the_item(run):
    ledger = Ledger.read(run / "ledger.parquet")
    edits = ledger.edits.with_columns(kind=pl.lit("delete"), item_after=pl.lit(None, pl.String))
    Ledger(edits, ledger.data_id).write(run / "ledger.parquet")
    _, page = read(run)
    assert page.text.count("removed") > 8
    assert "suggested by" not in page.text


def test_what_is_no_finished_run_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="no such run directory"):
        write_report(tmp_path / "nowhere")
    (run / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"missing: manifest\.json") as caught:
        write_report(run)
    assert "seqmend run" in str(caught.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", "{", "cannot read this file of the run"),
        ("metrics.json", "[]", "is not what a run writes"),
        ("metrics.json", '{"schema": 2, "dataset": {}}', "schema is not what a run writes"),
        ("metrics.json", '{"schema": 1, "dataset": {"users": "many"}}', "dataset > users is not"),
        ("metrics.json", '{"schema": 1, "dataset": {}, "llm": {"seconds": NaN}}', "llm > seconds is not"),
        ("manifest.json", '{"stages": [{}]}', "stages > 0 > name is not"),
        ("noise_truth.parquet", "not parquet", "cannot read the record of the injected noise"),
    ],
)
def test_damaged_files_are_named(run, name, content, message):
    (run / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        write_report(run)
    assert name in str(caught.value)


def test_damaged_evidence_names_its_edit(run):
    ledger = Ledger.read(run / "ledger.parquet")
    Ledger(ledger.edits.with_columns(evidence=pl.lit('{"window": 3}')), ledger.data_id).write(run / "ledger.parquet")
    with pytest.raises(InputError, match="the evidence of an edit is damaged"):
        write_report(run)
