import json

from typer.testing import CliRunner

from seqmend.cli import app
from seqmend.study import correct_studies

ROW = {"f1": 0.75, "precision": 0.8, "recall": 0.7, "ci95": [0.71, 0.79], "auroc": 0.9, "auroc_unseen": None}
GAIN = {"difference": 0.125, "ci95": [0.0625, 0.1875], "p_value": 0.01}
FIGURES = {
    "folder": "shop",
    "model": "some@1",
    "answer": "tuned model with evidence",
    "seeds": [0, 1],
    "n_test_rows": 1234,
    "seconds": 61.0,
    **ROW,
    "controls": {
        "untuned model": {**ROW, "f1": 0.625, "gain": GAIN},
        "attribute rule": {"f1": None, "precision": None, "recall": None, "ci95": None, "reason": "no column"},
    },
}


def test_the_table_and_the_file_hold_the_figures(monkeypatch, tmp_path):
    asked = []

    def measured(*given, progress):
        asked.append(given)
        return FIGURES

    monkeypatch.setattr(correct_studies, "bench_correct_by_name", measured)
    command = ["bench", "correct", str(tmp_path), "--seeds", "2", "--rows", "50", "--summaries", "--model", "m"]
    result = CliRunner().invoke(app, [*command, "--json", str(tmp_path / "f.json")], env={"COLUMNS": "180"})
    assert result.exit_code == 0, result.output
    assert asked == [(tmp_path, "m", None, 2, 50, True)]
    assert json.loads((tmp_path / "f.json").read_text()) == FIGURES
    for figure in ("1,234 test rows of shop", "0.750", "0.625", "+0.125 [+0.062, +0.188]", "no column", "61 s"):
        assert figure in result.output


def test_a_folder_that_is_none_is_refused(seqmend, tmp_path):
    code, _, err = seqmend("bench", "correct", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert code == 2
    assert "a file of the benchmark is missing" in err
    assert not (tmp_path / "out").exists()
