"""The main job: read, split, (spoil,) judge, edit, retrain every arm, measure, write the run directory."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from seqmend import assets
from seqmend.evaluation import (
    METRICS,
    Histories,
    mean_interval,
    metric_values,
    metrics_by_group,
    paired_bootstrap,
    ranking_metrics,
    recovered_share,
)
from seqmend.files import write_atomic, write_json
from seqmend.interactions import Log, Sequences, Split, undo
from seqmend.ledger import Ledger
from seqmend.llm import Usage, weights
from seqmend.progress import Progress, silent
from seqmend.recommenders import TrainingConfig
from seqmend.study.arms import VALID, ArmData, HeldOut, refuse_untrainable_backbone
from seqmend.study.composition import Proposed, Version, added_up, edit_counts, propose
from seqmend.study.config import Arm, MenderName, RunConfig
from seqmend.study.data import before_test, divided, read_data, spoil
from seqmend.study.detection import measure_detection
from seqmend.study.mending import by_chance, judge, usage
from seqmend.study.parallel import Pool, default_jobs, pool
from seqmend.study.published import tuned_adapter
from seqmend.study.readers import load_readers
from seqmend.study.stages import RunDirectory, fingerprint
from seqmend.study.trainings import Training, begin_training, equal_steps, finish_training

_HEADLINE = ("ndcg@10", "hr@10")
_CONTROLS: tuple[Arm, ...] = ("llm_free", "random")
_WITHOUT = "without_"


def run(config: RunConfig, out: Path, progress: Progress = silent, jobs: int | None = None) -> dict[str, Any]:
    """Do the whole job; a second run redoes only what changed, and a killed one resumes.

    Args:
        config: Everything that decides the result.
        out: The run directory.
        progress: Told what is being done.
        jobs: Trainings at once; by default as many as are fastest here.

    Returns:
        What stands in `metrics.json`.

    Raises:
        InputError: The input, the settings or the output folder cannot be used; nothing was written.
        ResourceError: A model or corpus is missing or failing.
        BudgetExceeded: The language-model budget is spent; what was asked is kept for the next run.
    """
    log = read_data(config.data, progress)
    refuse_untrainable_backbone(config, log.sequences)
    directory = RunDirectory(out)
    split = divided(log.sequences, config.split)
    directory.begin(
        {"data_id": log.sequences.fingerprint, **log.summary.to_dict()},
        config.seeds,
        {"device": "cuda" if torch.cuda.is_available() else "cpu", "threads": torch.get_num_threads()},
    )
    config.write(out / "config.toml")
    with write_atomic(out / "quarantine.parquet") as temporary:
        log.quarantine.write_parquet(temporary)
    study = _Study(config, directory, log, split, progress)
    study.mend()
    study.write_mended_log()
    metrics = study.measure(jobs)
    write_json(out / "metrics.json", metrics)
    directory.finish({"llm": metrics["llm"]})
    return metrics


class _Study:
    """One run's data and ledgers, from stage to stage."""

    def __init__(self, config: RunConfig, directory: RunDirectory, log: Log, clean: Split, progress: Progress) -> None:
        self.config, self.directory, self.log, self.clean, self.progress = config, directory, log, clean, progress
        self.noisy = spoil(clean, config.noise, config.language.encoder, progress) if config.noise else None
        self.split = self.noisy.split if self.noisy else clean
        self.train = self.split.train
        self.before_test = before_test(self.split)
        self.versions: dict[str, Version] = {}
        self.detection: dict[str, Any] | None = None
        self.asked: list[dict[str, Any]] = []
        self.account = Usage()

    # ---------------------------------------------------------------------------------------------------------- mend

    def mend(self) -> None:
        """Let every mender work in turn, and write its ledger and those of its controls.

        Of several menders, one after the other is also left out, and those after it see the data without its edits.
        """
        menders = self.config.menders
        left_out = [_WITHOUT + mender for mender in menders] if len(menders) > 1 else []
        self.versions = {arm: Version(self.split) for arm in ["mended", *self._controls(), *left_out]}
        if self.noisy is not None:
            with write_atomic(self.directory.path / "noise_truth.parquet") as temporary:
                self.noisy.truth.write_parquet(temporary)
        for mender in menders:
            if mender == "denoise":
                self._denoise()
            else:
                self._propose(mender)

    def _controls(self) -> list[Arm]:
        return [arm for arm in _CONTROLS if arm in self.config.arms]

    def _file(self, arm: str, mender: MenderName) -> str:
        """Where an arm's ledger of a mender lies in the run directory."""
        menders = self.config.menders
        if len(menders) == 1:
            return "ledger.parquet" if arm == "mended" else f"controls/{arm}.parquet"
        folder = "ledgers" if arm == "mended" else f"controls/{arm}"
        return f"{folder}/{menders.index(mender) + 1:02d}-{mender}.parquet"

    def _take(self, arm: str, mender: MenderName) -> None:
        ledger = Ledger.read(self.directory.path / self._file(arm, mender))
        self.versions[arm] = self.versions[arm].then(mender, ledger)

    def _propose(self, mender: MenderName) -> None:
        """Write what a mender after the first proposes for every arm; arms of equal data share its work."""
        config, path = self.config, self.directory.path
        settings = [config.language, config.backbone, config.training, getattr(config, mender)]
        identity = [config.split, config.form, *[section.model_dump() for section in settings]]
        identity += _model_files(config.language.model, config.language.encoder)
        shared: dict[str, Proposed] = {}
        for arm, version in self.versions.items():
            if arm == _WITHOUT + mender:
                continue
            data, kind = version.split.sequences.data_id, arm if arm in _CONTROLS else "mended"
            file, said = self._file(arm, mender), f"stages/{mender}-{arm}.json"
            users = ["users.parquet"] if mender == "augment" and arm == "mended" else []
            key = fingerprint(data, *identity)

            def make(
                data: str = data,
                version: Version = version,
                kind: str = kind,
                file: str = file,
                said: str = said,
                users: list[str] = users,
            ) -> None:
                asked_now = data not in shared
                if asked_now:
                    folder = path / "menders" / f"{mender}-{data[:12]}"
                    shared[data] = propose(
                        mender, config, version, folder, path / "journal.sqlite", self.progress, self.account
                    )
                found = shared[data]
                found.ledgers[kind].write(path / file)
                for name in users:
                    assert found.users is not None
                    with write_atomic(path / name) as temporary:
                        found.users.write_parquet(temporary)
                write_json(path / said, found.figures if asked_now else {**found.figures, "llm": {}})

            def load(said: str = said) -> dict[str, Any]:
                return json.loads((path / said).read_text("utf-8"))

            figures = self.directory.stage(f"{mender} {arm}", key, [file, said, *users], make, load)
            self.asked.append(figures["llm"])
            self._take(arm, mender)

    # ------------------------------------------------------------------------------------------------------- denoise

    def _denoise(self) -> None:
        """Judge the training part and the test histories once, and write the ledgers of the mender and its controls."""
        config, path = self.config, self.directory.path
        arms = [arm for arm in self.versions if arm != _WITHOUT + "denoise"]
        names = {arm: self._file(arm, "denoise") for arm in arms}
        files = [*names.values(), "stages/denoise.json"]
        key = fingerprint(
            self.split.sequences.fingerprint,
            config.split,
            config.denoise.model_dump(),
            config.language.model_dump(),
            *_model_files(config.language.model, config.language.encoder, config.denoise.llm4dsr.adapter),
        )

        def load() -> dict[str, Any]:
            return json.loads((path / "stages/denoise.json").read_text("utf-8"))

        said = self.directory.stage("denoise", key, files, lambda: self._judge_and_propose(names), load)
        self.detection = said["detection"]
        self.asked.append(said["llm"])
        for arm in arms:
            self._take(arm, "denoise")

    def _judge_and_propose(self, names: dict[str, str]) -> None:
        config, path = self.config, self.directory.path
        adapter = tuned_adapter(config, self.train, path / "adapter", self.progress)
        models = load_readers(config.language, path / "journal.sqlite", self.progress, adapter, account=self.account)
        mender, verdicts = judge(config, self.split, models, path / "titles.safetensors", self.progress)
        rng = np.random.default_rng(config.denoise.seed + 1)
        controls = self._controls()
        proposals: dict[str, list[Ledger]] = {name: [] for name in ("mended", *controls)}
        for view, said in verdicts.items():
            fused = mender.propose_from(said, view)
            proposals["mended"].append(fused)
            if "llm_free" in controls:
                free = mender.propose_from(said, view, gate=said.llm_free, ask=False)
                proposals["llm_free"].append(free)
            if "random" in controls:
                proposals["random"].append(by_chance(mender, said, view, len(fused), rng))
        ledgers = {kind: train.merge(test).accept() for kind, (train, test) in proposals.items()}  # its gate decided
        for arm, file in names.items():
            ledgers[arm if arm in controls else "mended"].write(path / file)
        detection = None
        if self.noisy is not None:
            is_noise = self.noisy.mask[_rows_before(self.split.sequences, self.split.train_ends)]
            self.progress("measuring detection", 0, 0)
            detection = measure_detection(
                verdicts["train"], is_noise, config.denoise.threshold, mender.noise_rate, np.random.default_rng(0)
            )
        write_json(
            path / "stages" / "denoise.json",
            {
                "detection": detection,
                "llm": usage(models.model, verdicts),
                "noise_rate": mender.noise_rate,
                "future_aware": True,
            },
        )

    # ---------------------------------------------------------------------------------------------------------- arms

    def write_mended_log(self) -> None:
        """The log with the accepted training edits carried out, as Parquet."""
        mended = self.versions["mended"].mended(self.split.sequences, "train")
        with write_atomic(self.directory.path / "mended" / "interactions.parquet") as temporary:
            mended.to_frame().write_parquet(temporary)

    def measure(self, jobs: int | None) -> dict[str, Any]:
        """Train every arm under every seed, so many at once, and compare."""
        held_out = HeldOut.of(self.split, self.clean)
        arms: list[str] = [arm for arm in self.config.arms if arm != "oracle" or self.noisy is not None]
        arms += [arm for arm in self.versions if arm.startswith(_WITHOUT)]
        most = self.config.training.epochs * self.train.n_interactions * len(arms) * len(self.config.seeds)
        with pool(jobs or default_jobs(most), self.progress) as workers:
            training = equal_steps(self.config.training, self.config.backbone, self._form(), self.train)
            waiting = {arm: self._trainings(arm, training, held_out, workers) for arm in arms}
            ranks = {(arm, name): by_seed for arm in arms for name, by_seed in self._ranks(waiting[arm]).items()}
        return {
            "schema": 1,
            "dataset": self._dataset(),
            **self._compare(ranks),
            **self._mending(),
            "llm": added_up(self.asked),
        }

    def _arm_data(self, arm: str) -> ArmData:
        as_is = Histories.before(self.split.sequences, self.split.test)
        if arm == "raw":
            return ArmData(self.train, _ones(self.train), {"as_is": as_is})
        if arm == "oracle":
            assert self.noisy is not None
            clean = undo(self.noisy)
            return ArmData(
                clean.train,
                _ones(clean.train),
                {"as_is": as_is, "mended": Histories.before(clean.sequences, clean.test)},
            )
        return self.versions[arm].arm()

    def _form(self) -> Literal["auto", "sequence", "instance"]:
        """Of the rows; every edit can be carried out on instances."""
        return "instance" if "correct" in self.config.menders else self.config.form

    def _trainings(self, arm: str, training: TrainingConfig, held_out: HeldOut, workers: Pool) -> list[Training]:
        """The trainings of one arm; those whose ranks are not there yet have been given to the workers."""
        config, data = self.config, self._arm_data(arm)
        return [
            begin_training(
                self.directory,
                workers,
                arm,
                data,
                held_out,
                config.backbone,
                self._form(),
                training.model_copy(update={"seed": seed}),
            )
            for seed in config.seeds
        ]

    def _ranks(self, trainings: list[Training]) -> dict[str, npt.NDArray[np.int64]]:
        """Ranks of the test targets, int64 [S, M] by name of the test histories, when all trainings have ended."""
        by_seed = [finish_training(self.directory, training) for training in trainings]
        histories = [name for name in by_seed[0].columns if name not in ("user", VALID)]
        return {name: np.stack([ranks[name].to_numpy() for ranks in by_seed]) for name in histories}

    # ------------------------------------------------------------------------------------------------------- metrics

    def _compare(self, ranks: dict[tuple[str, str], npt.NDArray[np.int64]]) -> dict[str, Any]:
        lengths = self.clean.test.positions
        arms = [
            {
                "arm": arm,
                "backbone": self.config.backbone.name,
                "seed": seed,
                "split": self.config.split,
                "test_history": history,
                "metrics": ranking_metrics(row),
                "groups": metrics_by_group(row, lengths),
            }
            for (arm, history), by_seed in ranks.items()
            for seed, row in zip(self.config.seeds, by_seed, strict=True)
        ]
        values = {
            (metric, *place): np.stack([metric_values(row, metric) for row in by_seed])
            for place, by_seed in ranks.items()
            for metric in METRICS
        }
        intervals = [
            {
                "arm": arm,
                "backbone": self.config.backbone.name,
                "test_history": history,
                "metric": metric,
                "mean": float(values[metric, arm, history].mean()),
                "ci95": list(mean_interval(values[metric, arm, history], np.random.default_rng(0))),
            }
            for arm, history in ranks
            for metric in _HEADLINE
        ]
        comparisons: list[dict[str, Any]] = []
        backbone = self.config.backbone.name
        shares: list[dict[str, Any]] = []
        for metric in _HEADLINE:
            raw = values.get((metric, "raw", "as_is"))
            for history in ("as_is", "mended"):
                mended = values.get((metric, "mended", history))
                left_out = [arm for arm in self.versions if arm.startswith(_WITHOUT)]
                for other in ("raw", "random", "llm_free", "oracle", *left_out):
                    theirs = raw if other == "raw" else values.get((metric, other, history))
                    if mended is not None and theirs is not None:
                        comparisons.append(_comparison(backbone, metric, history, "mended", other, mended, theirs))
                oracle = values.get((metric, "oracle", history))
                if raw is None or oracle is None or mended is None:
                    continue
                comparisons.append(_comparison(backbone, metric, history, "oracle", "raw", oracle, raw))
                share = recovered_share(raw, mended, oracle, np.random.default_rng(0))
                shares.append(
                    {
                        "backbone": self.config.backbone.name,
                        "metric": metric,
                        "test_history": history,
                        "value": share.value,
                        "ci95": list(share.ci95) if share.ci95 else None,
                        "reason": share.reason,
                    }
                )
        return {"arms": arms, "arm_intervals": intervals, "comparisons": comparisons, "recovered_share": shares}

    def _mending(self) -> dict[str, Any]:
        said = {mender: edit_counts(ledger) for mender, ledger in self.versions["mended"].ledgers}
        by_kind: Counter[str] = sum((Counter(one["by_kind"]) for one in said.values()), Counter())
        accepted = sum(one["accepted"] for one in said.values())
        edits = {
            "proposed": sum(one["proposed"] for one in said.values()),
            "accepted": accepted,
            "share_of_interactions": accepted / max(self.train.n_interactions, 1),
            "users": max(one["users"] for one in said.values()),
            "by_kind": dict(sorted(by_kind.items())),
            "by_mender": said,
        }
        return {"edits": edits} | ({"detection": self.detection} if self.detection else {})

    def _dataset(self) -> dict[str, Any]:
        summary, noise, data = self.log.summary, self.config.noise, self.config.data
        return {
            "name": data.corpus or (data.interactions.name if data.interactions else ""),
            "users": summary.users,
            "items": summary.items,
            "interactions": summary.interactions,
            "split": self.config.split,
            "valid_targets": len(self.split.valid),
            "test_targets": len(self.split.test),
            "noise": {"kind": noise.kind, "ratio": noise.ratio, "n": int(self.noisy.mask.sum())}
            if noise and self.noisy
            else None,
            "quarantined": summary.quarantined,
            "terms": [
                f"{asset.name}: {asset.licence}, {asset.terms}"
                for asset in assets.listing()
                if asset.name in (data.corpus, self.config.language.model, self.config.language.encoder)
            ],
        }


def _comparison(
    backbone: str,
    metric: str,
    history: str,
    a: str,
    b: str,
    ours: npt.NDArray[np.float64],
    theirs: npt.NDArray[np.float64],
) -> dict[str, Any]:
    difference = paired_bootstrap(ours, theirs, np.random.default_rng(0))
    return {
        "backbone": backbone,
        "metric": metric,
        "test_history": history,
        "a": a,
        "b": b,
        "mean_a": difference.mean_a,
        "mean_b": difference.mean_b,
        "difference": difference.difference,
        "ci95": list(difference.ci95),
        "p_value": difference.p_value,
        "seeds": difference.seeds,
    }


def _model_files(*named: str | Path | None) -> list[str]:
    """Fingerprints of those models that are folders of the user's: their names do not tell what they hold."""
    return [weights.fingerprint(Path(one)) for one in named if one is not None and Path(one).is_dir()]


def _ones(sequences: Sequences) -> npt.NDArray[np.float32]:
    return np.ones(sequences.n_interactions, dtype=np.float32)


def _rows_before(sequences: Sequences, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return sequences.positions < np.repeat(ends, sequences.lengths)
