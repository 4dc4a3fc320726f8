import io
import json

import pytest
from rich.cells import cell_len
from rich.console import Console

from seqmend.errors import InputError
from seqmend.report import terminal_summary


def printed(summary, width=80, **options) -> str:
    console = Console(width=width, file=io.StringIO(), **options)
    console.print(summary)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_the_terminal_and_cuts_no_figure(run, width):
    text = printed(terminal_summary(run), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for figure in ("100,000", "0.0756", "0.845", "9 min 0 s", "75% of 20 accepted edits"):
        assert figure in text


def test_metrics_alone_are_enough(metrics):
    text = printed(terminal_summary(metrics))
    assert "Mending made SASRec better" in text
    assert "Surest edits" not in text


def test_intervals_are_drawn_to_one_scale(metrics):
    rows = [line for line in printed(terminal_summary(metrics), 100).splitlines() if "●" in line]
    assert len(rows) == 11
    by_mean = sorted((float(line.split("├")[0].split()[-1]), line.index("●")) for line in rows)
    assert [column for _, column in by_mean] == sorted(column for _, column in by_mean)
    assert all(line.index("├") < line.index("●") < line.index("┤") for line in rows)


def test_hostile_titles_are_printed_as_text(run):
    text = printed(terminal_summary(run), 120, force_terminal=True, color_system=None)
    assert "\x1b[31m" not in text
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["dataset"]["name"] = "[red]Evil[/red] [/nope] \x1b]0;owned\x07"
    text = printed(terminal_summary(metrics), 120)
    assert "[red]Evil[/red] [/nope]" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_a_bare_run_can_be_summed_up():
    bare = {"schema": 1, "dataset": {}, "arms": [], "comparisons": [], "recovered_share": [], "llm": None}
    text = printed(terminal_summary(bare))
    assert "trained no recommender" in text
    assert "NDCG" not in text


def test_arms_without_intervals_are_dots(metrics):
    text = printed(terminal_summary({**metrics, "arm_intervals": []}), 100)
    assert "├" not in text
    assert text.count("●") == 11


def test_the_illustration_is_called_one_until_there_are_five_seeds(metrics):
    assert "seqmend bench detect FOLDER" in printed(terminal_summary(metrics))
    metrics["arms"] = [{**metrics["arms"][0], "seed": seed} for seed in range(5)]
    assert "seqmend bench detect" not in printed(terminal_summary(metrics))


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a finished run"):
        terminal_summary(tmp_path)
