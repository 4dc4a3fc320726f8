"""How well a run's verdicts found the noise that was injected, beside every witness alone."""

from typing import Any

import numpy as np
import numpy.typing as npt

from seqmend.evaluation import (
    calibration_error,
    detection_metrics,
    paired_detection_bootstrap,
    precision_recall_curve,
    reliability_bins,
)
from seqmend.menders.denoise import WINDOW_WITNESS, Verdicts

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]


def measure_detection(
    verdicts: Verdicts, is_noise: Bool, threshold: float, noise_rate: float, rng: np.random.Generator
) -> dict[str, Any]:
    """The `detection` part of `metrics.json`.

    Args:
        verdicts: On the training sequences.
        is_noise: Truth of every training interaction, bool [N].
        threshold: Least confidence that counts as flagged.
        noise_rate: What the mender estimated.
        rng: Of the bootstrap, which resamples users.
    """
    sequences = verdicts.sequences
    blocks = sequences.positions // verdicts.windows.items.shape[1]
    windows = np.unique(sequences.users * np.int64(2**32) + blocks, return_inverse=True)[1]
    asked = verdicts.asked_interactions
    everything = {"fused": verdicts.fused, "llm_free": verdicts.llm_free, **verdicts.witnesses}

    def measure(confidence: Float64, where: Bool) -> dict[str, Any]:
        return detection_metrics(is_noise[where], confidence[where], windows[where], threshold)

    def compare(name: str, scope: str, where: Bool) -> dict[str, Any]:
        gain = paired_detection_bootstrap(
            is_noise[where],
            verdicts.fused[where],
            everything[name][where],
            sequences.users[where].astype(np.int64),
            rng,
            n_resamples=500,
        )
        return {
            "scope": scope,
            "metric": "auroc",
            "a": "fused",
            "b": name,
            "mean_a": gain.mean_a,
            "mean_b": gain.mean_b,
            "difference": gain.difference,
            "ci95": list(gain.ci95),
            "p_value": gain.p_value,
        }

    heard = {name: ~np.isnan(confidence) for name, confidence in everything.items()}
    controls = [name for name in everything if name != "fused"]
    scopes = [("all", np.ones(len(is_noise), dtype=bool))]
    if asked.any() and is_noise[asked].any() and not is_noise[asked].all():
        scopes.append(("asked", asked))
    result = {
        **measure(verdicts.fused, scopes[0][1]),
        "threshold": threshold,
        "controls": {name: measure(everything[name], heard[name]) for name in controls},
        "noise_rate": {"estimated": noise_rate, "injected": float(is_noise.mean())},
        "ece_above_0.2": calibration_error(is_noise, verdicts.fused, above=0.2),
        "reliability": [
            {"low": b.lower, "high": b.upper, "confidence": b.confidence, "observed": b.noise_rate, "n": b.n}
            for b in reliability_bins(is_noise, verdicts.fused)
        ],
        "curves": {name: _curve(is_noise[heard[name]], everything[name][heard[name]]) for name in everything},
        "comparisons": [
            compare(name, scope, where)
            for scope, where in scopes
            for name in controls
            if scope == "asked" or name != WINDOW_WITNESS
        ],
    }
    if len(scopes) == 2:
        result["asked"] = {
            "n_windows": int(verdicts.asked.sum()),
            "fused": measure(verdicts.fused, asked),
            "controls": {name: measure(everything[name], asked) for name in controls},
        }
    return result


def _curve(is_noise: Bool, confidence: Float64) -> dict[str, list[float]]:
    curve = precision_recall_curve(is_noise, confidence)
    return {name: [round(value, 4) for value in curve[name]] for name in ("recall", "precision")}
