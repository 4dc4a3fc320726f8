import json

from typer.testing import CliRunner

from seqmend import study
from seqmend.cli import app

NAMES = ("llm_free", "teacher", "student", "student_llm_free")
GAIN = {"difference": 0.01, "ci95": [0.005, 0.015], "p_value": 0.01}
FIGURES = {
    **{name: {"auroc": 0.8 + index / 100, "ece": 0.01} for index, name in enumerate(NAMES)},
    "gain": dict.fromkeys(NAMES[1:], GAIN),
    "gain_share": {
        "student": {"value": 2.5, "ci95": [1.25, None]},
        "student_llm_free": {"value": None, "ci95": [None, None]},
    },
    "language_gain": GAIN,
    "speed": {
        "teacher": 1.5,
        "teacher_titles_kept": 2.0,
        "fusion": 6000.0,
        "student": 9000.0,
        "student_llm_free": 9999,
    },
    "ratio": 6000.0,
    "ratio_titles_kept": 4500.0,
    "machine": {"cores": 2},
}


def test_the_table_and_the_file_hold_the_figures(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(study, "bench_student_by_name", lambda *given: asked.append(given) or FIGURES)
    command = ["bench", "denoise-student", str(tmp_path), "--train", "full", "--epochs", "3", "--seed", "5"]
    result = CliRunner().invoke(app, [*command, "--json", str(tmp_path / "f.json")], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    _, regime, _, _, teacher, student, *_ = asked[0]
    assert (regime, teacher.seed, student.seed, student.epochs) == ("full", 5, 5, 3)
    assert json.loads((tmp_path / "f.json").read_text()) == json.loads(json.dumps(FIGURES))
    for figure in ("0.8200", "250% (125%, unbounded)", "unbounded (unbounded, unbounded)", "6,000.0", "4,500 times"):
        assert figure in result.output.replace("\n", " ")


def test_another_training_part_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["bench", "denoise-student", str(tmp_path), "--train", "half"])
    assert result.exit_code == 2
    assert "'half' is not one of" in result.output
