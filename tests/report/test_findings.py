import pytest

from seqmend.report.findings import further_findings, headline, honest_notes
from seqmend.report.record import Metrics


def verdict(metrics, difference, half=0.002, **changes):
    found = next(c for c in metrics["comparisons"] if (c["a"], c["b"]) == ("mended", "raw"))
    found |= {
        "mean_a": found["mean_b"] + difference,
        "difference": difference,
        "ci95": [difference - half, difference + half],
    }
    return headline(Metrics.parse({**metrics, **changes}))


def test_a_gain_is_called_a_gain_with_its_share(metrics):
    found = verdict(metrics, 0.0044)
    assert found.tone == "gain"
    assert (
        "NDCG@10 rose 6.2%, from 0.0712 to 0.0756 (difference +0.0044, 95% interval +0.0024 to +0.0064)" in found.text
    )
    assert "that is 41% (12% to 70%) of what undoing exactly the injected noise would regain" in found.text


def test_chance_is_called_chance_whatever_its_sign(metrics):
    for difference in (0.001, -0.001, 0.0):
        found = verdict(metrics, difference)
        assert found.tone == "none"
        assert "no more than chance" in found.text
        assert "includes 0" in found.text
        assert "better" not in found.text
        assert "worse" not in found.text


def test_a_loss_is_called_a_loss(metrics):
    found = verdict(metrics, -0.01)
    assert found.tone == "loss"
    assert "made SASRec worse: NDCG@10 fell 14.0%" in found.text


def test_an_interval_that_touches_zero_is_no_gain(metrics):
    assert verdict(metrics, 0.002, half=0.002).tone == "none"


def test_no_share_says_why(metrics):
    shares = [{**metrics["recovered_share"][0], "value": None, "ci95": None, "reason": "the oracle gains nothing"}]
    text = verdict(metrics, 0.0044, recovered_share=shares).text
    assert "no recovered share is given, because the oracle gains nothing" in text
    dataset = {**metrics["dataset"], "noise": None}
    assert "no noise was injected" in verdict(metrics, 0.0044, recovered_share=[], dataset=dataset).text
    assert "was not measured" in verdict(metrics, 0.0044, recovered_share=[]).text


def test_a_share_of_other_test_histories_is_not_borrowed(metrics):
    shares = [{**metrics["recovered_share"][0], "test_history": "mended"}]
    assert "41%" not in verdict(metrics, 0.0044, recovered_share=shares).text


def test_the_mended_test_histories_do_not_make_the_headline(metrics):
    metrics["comparisons"] = [c for c in metrics["comparisons"] if c["test_history"] == "mended"]
    found = headline(Metrics.parse(metrics))
    assert found.tone == "unknown"
    assert "cannot tell a gain" in found.text


def test_controls_and_the_language_model_are_told(metrics):
    findings = further_findings(Metrics.parse(metrics))
    assert [finding.tone for finding in findings] == ["gain", "none", "gain", "gain"]
    assert findings[0].text.startswith("Better than random edits of the same number: NDCG@10 +0.0059")
    assert findings[1].text.startswith("Not distinguishable from mending without the language model")
    assert "The language model earns its place in detection" in findings[3].text


def test_a_language_model_that_adds_nothing_is_told(metrics):
    for found in metrics["detection"]["comparisons"]:
        if (found["scope"], found["b"]) == ("asked", "llm_free"):
            found["ci95"] = [-0.001, 0.07]
    assert "adds nothing to detection" in further_findings(Metrics.parse(metrics))[3].text


@pytest.mark.parametrize(("n_seeds", "is_illustration"), [(1, True), (4, True), (5, False)])
def test_few_seeds_are_an_illustration(metrics, n_seeds, is_illustration):
    metrics["arms"] = [{**metrics["arms"][0], "seed": seed} for seed in range(n_seeds)]
    notes = honest_notes(Metrics.parse(metrics), ["denoise"])
    assert any("seqmend bench detect" in note for note in notes) == is_illustration
    assert any("future-aware" in note for note in notes)
    assert not any("future-aware" in note for note in honest_notes(Metrics.parse(metrics), ["other"]))
