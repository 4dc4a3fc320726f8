"""A finished run made up from numbers that could be real, with hostile texts wherever a file may hold some."""

import copy
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seqmend.interactions import Sequences
from seqmend.ledger import Ledger

HOSTILE = "<img src=x onerror=alert(1)> <script>alert(1)</script> \x1b[31m[bold]Evil[/bold]"
WITNESSES = ("popularity", "co-occurrence", "title similarity", "language model")
_FILMS = [
    "Toy Story (1995)",
    "Star Wars (1977)",
    "Fargo (1996)",
    "Chasing Amy (1997)",
    "L.A. Confidential (1997)",
    "Contact (1997)",
    "The Wrong Trousers (1993)",
    "Scream 2 (1997)",
    "Sense and Sensibility (1995)",
    "Cop Land (1997)",
    "Chungking Express (1994)",
    "Mars Attacks! (1996)",
    "Il Postino (1994)",
    "The English Patient (1996)",
    "When Harry Met Sally... (1989)",
]
_ARMS = {
    "raw": 0.0712,
    "random": 0.0697,
    "llm_free": 0.0748,
    "mended": 0.0756,
    "oracle_same_scope": 0.0806,
    "oracle": 0.0819,
}


def _figures(ndcg: float) -> dict[str, float]:
    names = ("hr@1", "hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
    factors = (0.4, 1.2, 1.86, 2.9, 0.75, 1.0, 1.3, 0.85)
    return {key: ndcg * factor for key, factor in zip(names, factors, strict=True)} | {"n": 943}


def _quality(auroc: float, n: int = 9000) -> dict[str, float]:
    return {
        "auroc": auroc,
        "auprc": (auroc - 0.4) * 1.1,
        "precision": 0.71,
        "recall": 0.42,
        "f1": 0.53,
        "top1": auroc - 0.25,
        "ece": 0.03,
        "n": n,
    }


def _curve(skill: float) -> dict[str, list[float]]:
    recall = np.linspace(0.01, 1, 60)
    return {"recall": recall.tolist(), "precision": (0.1 + 0.85 * skill * (1 - recall) ** (2 - skill)).tolist()}


def _difference(a: str, b: str, mean_a: float, mean_b: float, half: float) -> dict[str, object]:
    gain = mean_a - mean_b
    sides = {"a": a, "b": b, "mean_a": mean_a, "mean_b": mean_b, "difference": gain}
    return {**sides, "ci95": [gain - half, gain + half], "p_value": 0.0008 if gain > half else 0.21}


def _detection() -> dict[str, object]:
    skills = {"llm_free": 0.812, "popularity": 0.65, "co-occurrence": 0.703, "title similarity": 0.694}
    asked = {**skills, "language model": 0.705}
    differences = [
        {"scope": scope, "metric": "auroc", **_difference("fused", judge, 0.845, auroc, 0.015)}
        for scope, judges in (("all", skills), ("asked", asked))
        for judge, auroc in judges.items()
    ]
    return {
        **_quality(0.845),
        "threshold": 0.5,
        "controls": {judge: _quality(auroc) for judge, auroc in skills.items()}
        | {"language model": _quality(0.705, 1500)},
        "noise_rate": {"estimated": 0.112, "injected": 0.1},
        "reliability": [
            {
                "low": k / 10,
                "high": (k + 1) / 10,
                "confidence": k / 10 + 0.05,
                "observed": min(1.0, max(0.0, k / 10 + 0.05 + 0.04 * (-1) ** k)),
                "n": int(8000 * 0.45**k) + 6,
            }
            for k in range(10)
        ],
        "curves": {judge: _curve(auroc) for judge, auroc in {"fused": 0.845, **asked}.items()},
        "ece_above_0.2": 0.041,
        "asked": {
            "n_windows": 1500,
            "fused": _quality(0.831, 1500),
            "controls": {judge: _quality(auroc - 0.02, 1500) for judge, auroc in asked.items()},
        },
        "comparisons": differences,
    }


def make_metrics() -> dict[str, object]:
    """All keys that a run may write."""
    bonus = {"as_is": 0.0, "mended": 0.0011}
    arms = [
        {
            "arm": arm,
            "backbone": "sasrec",
            "seed": seed,
            "split": "test",
            "test_history": history,
            "metrics": _figures(mean + extra + (seed - 1) * 0.0009),
            "groups": {
                group: _figures((mean + extra) * factor) | {"n": n}
                for group, factor, n in (("short", 0.7, 51), ("medium", 0.94, 310), ("long", 1.1, 582))
            },
        }
        for arm, mean in _ARMS.items()
        for history, extra in bonus.items()
        for seed in range(3)
        if history == "as_is" or arm != "raw"
    ]
    intervals = [
        {
            "arm": arm,
            "backbone": "sasrec",
            "test_history": history,
            "metric": metric,
            "mean": (mean + extra) * factor,
            "ci95": [(mean + extra - 0.0061) * factor, (mean + extra + 0.0065) * factor],
        }
        for arm, mean in _ARMS.items()
        for history, extra in bonus.items()
        for metric, factor in (("ndcg@10", 1.0), ("hr@10", 1.86))
        if history == "as_is" or arm != "raw"
    ]
    comparisons = [
        {
            "backbone": "sasrec",
            "metric": "ndcg@10",
            "test_history": history,
            "seeds": 3,
            **_difference("mended", other, _ARMS["mended"], _ARMS[other], 0.0029),
        }
        for history in bonus
        for other in ("raw", "random", "llm_free", "oracle")
    ]
    return {
        "schema": 1,
        "dataset": {
            "name": "MovieLens-100K",
            "users": 943,
            "items": 1682,
            "interactions": 100000,
            "split": "leave_one_out",
            "test_targets": 943,
            "valid_targets": 943,
            "noise": {"kind": "uniform", "ratio": 0.1, "n": 9811},
            "quarantined": {"exact repeat": 12, HOSTILE: 3},
            "terms": ["MovieLens-100K: GroupLens terms, not to be redistributed", "SmolLM2-135M-Instruct: Apache-2.0"],
        },
        "arms": arms,
        "arm_intervals": intervals,
        "comparisons": comparisons,
        "recovered_share": [
            {
                "backbone": "sasrec",
                "metric": "ndcg@10",
                "test_history": "as_is",
                "value": 0.41,
                "ci95": [0.12, 0.7],
                "reason": None,
            }
        ],
        "detection": _detection(),
        "edits": {
            "proposed": 12034,
            "accepted": 8123,
            "share_of_interactions": 0.0812,
            "users": 911,
            "by_kind": {"replace": 8123},
        },
        "llm": {
            "calls": 3000,
            "prompt_tokens": 402113,
            "completion_tokens": 2210,
            "seconds": 262.0,
            "cache_hits": 0,
            "model": "SmolLM2-135M-Instruct",
            "windows_asked": 1500,
            "windows_total": 9470,
        },
    }


MANIFEST = {
    "versions": {
        "seqmend": "0.1.0",
        "python": "3.11.9",
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "polars": "2.1.0",
    },
    "seeds": [0, 1, 2],
    "inputs": {
        "interactions": {
            "path": "movielens-100k",
            "sha256": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
        }
    },
    "device": {"machine": "x86_64, 2 cores", "accelerator": None},
    "stages": [
        {"name": "read", "seconds": 0.8, "fingerprint": "a", "reused": True},
        {"name": "inject noise", "seconds": 0.2, "fingerprint": "b", "reused": False},
        {"name": "denoise", "seconds": 291.0, "fingerprint": "c", "reused": False},
        {"name": "train and evaluate", "seconds": 248.4, "fingerprint": "d", "reused": False},
    ],
    "peak_memory_mib": 2148,
    "llm": {},
}


def _edit_rows() -> tuple[Sequences, pl.DataFrame, pl.DataFrame]:
    titles = {f"i{n}": title for n, title in enumerate(_FILMS)} | {"evil": HOSTILE, "plain": None}
    items = list(titles)
    rng = np.random.default_rng(7)
    log = Sequences.from_lists({f"u{u}": rng.choice(items, 8).tolist() for u in range(20)}, titles)
    rows, truth = [], []
    for user in range(20):
        position = user % 8
        before, after = log.to_frame()["item_id"][user * 8 + position], items[(user * 5) % 15]
        window = [titles[item] or "(untitled)" for item in log.to_frame()["item_id"][user * 8 : user * 8 + 8]]
        said = dict(zip(WITNESSES, rng.uniform(0.3, 1, 4).round(3).tolist(), strict=True))
        evidence = {
            "witnesses": said if user % 3 else {key: said[key] for key in WITNESSES[:3]},
            "llm_free": 0.71,
            "window": window,
            "index": position,
            "title_before": titles[before],
            "title_after": titles[after],
            "replacement": {"source": "language model", "text": HOSTILE, "grounding": "nearest"}
            if user % 2
            else {"source": "co-occurrence"},
        }
        rows.append(
            (
                f"u{user}",
                position,
                after,
                0.99 - user / 60,
                json.dumps(evidence),
                f"its title is unlike its neighbours' {HOSTILE if user == 1 else ''}",
            )
        )
        if user % 4:
            truth.append((f"u{user}", position, "replaced", items[(user * 3) % 15] if user != 5 else after, before))
    edits = pl.DataFrame(
        rows, schema=["user_id", "position", "item_after", "confidence", "evidence", "reason"], orient="row"
    )
    edits = edits.with_columns(view=pl.lit("train"), kind=pl.lit("replace"), status=pl.lit("accepted"))
    return (
        log,
        edits,
        pl.DataFrame(truth, schema=["user_id", "position", "kind", "item_before", "item_after"], orient="row"),
    )


@pytest.fixture
def metrics() -> dict[str, object]:
    return copy.deepcopy(make_metrics())


@pytest.fixture
def run(tmp_path: Path, metrics: dict[str, object]) -> Path:
    folder = tmp_path / "run"
    make_run(folder, metrics)
    return folder


def make_run(folder: Path, metrics: dict[str, object]) -> None:
    """A run directory with everything that a report reads."""
    (folder / "mended").mkdir(parents=True)
    log, edits, truth = _edit_rows()
    Ledger.propose(edits, log, "denoise").write(folder / "ledger.parquet")
    truth.write_parquet(folder / "noise_truth.parquet")
    log.to_frame().write_parquet(folder / "mended" / "interactions.parquet")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (folder / "config.toml").write_text('[study]\ndataset = "movielens-100k" # </pre><script>alert(2)</script>\n')
