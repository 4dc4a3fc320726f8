"""`seqmend bench denoise-transfer`: what was learned on one corpus, at work on another.

What is learned is how far each witness is to be believed (the fusion). Statistics of items (who co-occurs with whom,
how popular each is) are always the judged log's own, and so is the noise rate, which needs no labels.
"""

from pathlib import Path
from typing import Any

import numpy as np

from seqmend.interactions import NoiseKind
from seqmend.menders.denoise import Denoiser
from seqmend.progress import Progress, silent
from seqmend.study.denoise_studies.repetition import Repetition, kept
from seqmend.study.denoise_studies.setting import Case, Setting, make_noise
from seqmend.study.denoise_studies.summary import all_over_seeds, auroc_difference, found_noise, over_seeds
from seqmend.study.denoise_studies.threshold import judges
from seqmend.study.readers import Readers, load_readers


def denoise_transfer(
    source: Setting, target: Setting, noise: tuple[NoiseKind, float], out: Path, *, progress: Progress = silent
) -> dict[str, Any]:
    """Judge the target's training part by a fusion learned on the source, and by one learned on itself.

    Both logs carry noise: the mender is learned from a log as it is found.

    Args:
        source: The log to learn on.
        target: The log to judge, with the same settings.
        noise: Kind and ratio, of both.
        out: Folder of the study.
        progress: Told what is being done.

    Returns:
        `rows` of one way of learning (`learned_on`: source, target, or witness for a single witness as learned on the
        target) and judge each, with detection figures over seeds; `lost`: by judge, AUROC learned on the source minus
        learned on the target, over seeds.

    Raises:
        InputError: See `Setting.begin`.
    """
    directory = target.begin(out)
    readers = load_readers(target.config.language, out / "journal.sqlite", progress)
    repetitions: list[Repetition] = []
    for seed in target.config.seeds:

        def make(seed: int = seed) -> Repetition:
            return Repetition(_measure(source, target, noise, seed, readers, progress))

        identity = [source.identity(seed), target.identity(seed), noise]
        repetitions.append(kept(directory, f"transfer-{seed}", identity, make, ranked=False))
    directory.finish({})
    said = [repetition.figures for repetition in repetitions]
    rows = [
        {
            "learned_on": place,
            "judge": judge,
            **all_over_seeds([figures["detection"][place][judge] for figures in said]),
        }
        for place, by_judge in said[0]["detection"].items()
        for judge in by_judge
    ]
    lost = [
        {
            "judge": judge,
            "difference": over_seeds([figures["lost"][judge]["difference"] for figures in said]),
            "by_seed": [figures["lost"][judge] for figures in said],
        }
        for judge in said[0]["lost"]
    ]
    return {
        "study": "denoise-transfer",
        **target.describe(),
        "source": source.describe(),
        "noise": {"kind": noise[0], "ratio": noise[1]},
        "rows": rows,
        "lost": lost,
    }


def _measure(
    source: Setting,
    target: Setting,
    noise: tuple[NoiseKind, float],
    seed: int,
    readers: Readers,
    progress: Progress,
) -> dict[str, Any]:
    config = target.config
    # Networks know the items of one catalogue only.
    denoise = config.denoise.model_copy(update={"seed": seed, "networks": False})
    learned, judged = (
        make_noise(setting.clean, *noise, seed, config.language.encoder, progress) for setting in (source, target)
    )

    def mender() -> Denoiser:
        return Denoiser(denoise, readers.encoder, readers.model, progress)

    elsewhere = mender().fit(learned.split.train)
    here = {
        "target": mender().fit(judged.split.train),
        "source": mender().fit(judged.split.train, layers_of=elsewhere),
    }
    detection: dict[str, dict[str, dict[str, float | None]]] = {}
    heard: dict[str, dict[str, Any]] = {}
    truth = np.zeros(0, dtype=bool)
    users = judged.split.train.users
    for place, fitted in here.items():
        verdicts = fitted.judge(judged.split.train)
        case = Case(seed, target.clean, judged, fitted, {"train": verdicts})
        truth = case.is_noise("train")
        heard[place] = judges(verdicts, readers)
        detection[place] = {
            judge: {**found_noise(case, confidence, denoise.threshold), "estimated": fitted.noise_rate}
            for judge, confidence in heard[place].items()
        }
        if place == "target":
            alone = {name: found_noise(case, own, denoise.threshold) for name, own in verdicts.witnesses.items()}
            detection["witness"] = alone
    lost = {
        judge: auroc_difference([truth], [heard["source"][judge]], [heard["target"][judge]], [users])
        for judge in heard["target"]
    }
    return {"detection": detection, "lost": lost}
