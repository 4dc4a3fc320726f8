"""`seqmend compare`: the arms of several runs side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqmend.errors import InputError


def compare_runs(runs: Sequence[Path]) -> dict[str, Any]:
    """The arms of several runs, each with its mean over seeds.

    Args:
        runs: Run directories, or what `train_backbone` wrote.

    Returns:
        `arms`: one entry per run, backbone, arm and test history, in the order of the runs: `run, dataset, backbone,
        arm, test_history, seeds, metrics` (means over seeds) and `ci95` by metric where the run measured it.
        `same_targets`: whether all runs were measured on the same held-out interactions, so that their figures can be
        compared.

    Raises:
        InputError: One of them is not a finished run.
    """
    entries: list[dict[str, Any]] = []
    measured_on: set[str] = set()
    for run in runs:
        metrics, manifest = (_read(run, name) for name in ("metrics.json", "manifest.json"))
        try:
            dataset = metrics["dataset"]
            entries += _arms(run, metrics)
            measured_on.add(json.dumps([manifest["inputs"]["data_id"], dataset["split"], dataset.get("noise")]))
        except (KeyError, TypeError) as error:
            raise _no_run(run, f"no {error} in it") from None
    return {"arms": entries, "same_targets": len(measured_on) == 1}


def _arms(run: Path, metrics: dict[str, Any]) -> list[dict[str, Any]]:
    by_place: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for arm in metrics["arms"]:
        by_place.setdefault((arm["backbone"], arm["arm"], arm["test_history"]), []).append(arm)
    intervals: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in metrics.get("arm_intervals", ()):
        intervals.setdefault((one["backbone"], one["arm"], one["test_history"]), {})[one["metric"]] = one["ci95"]
    return [
        {
            "run": str(run),
            "dataset": metrics["dataset"]["name"],
            "backbone": backbone,
            "arm": arm,
            "test_history": history,
            "seeds": len(by_seed),
            "metrics": {
                name: float(np.mean([one["metrics"][name] for one in by_seed])) for name in by_seed[0]["metrics"]
            },
            "ci95": intervals.get((backbone, arm, history), {}),
        }
        for (backbone, arm, history), by_seed in by_place.items()
    ]


def _read(run: Path, name: str) -> Any:
    try:
        return json.loads((run / name).read_text("utf-8"))
    except OSError:
        raise _no_run(run, f"no {name} in it") from None
    except ValueError:
        raise _no_run(run, f"{name} is not JSON") from None


def _no_run(run: Path, why: str) -> InputError:
    return InputError(f"this is not a finished run: {why}", where=str(run), expected="a run directory")
