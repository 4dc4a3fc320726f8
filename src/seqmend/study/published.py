"""LLM4DSR as published in the place of the fusion, with the fusion without a language model as its control."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqmend import assets
from seqmend.interactions import Sequences, View
from seqmend.ledger import Ledger
from seqmend.llm import Encoder, LocalModel, SentenceEncoder
from seqmend.menders.denoise import Denoiser, Verdicts
from seqmend.menders.denoise.llm4dsr import LLM4DSR, Judged, LastState, tune
from seqmend.menders.denoise.statistics import Float64
from seqmend.progress import Progress
from seqmend.study.config import RunConfig
from seqmend.study.readers import Readers


def tuned_adapter(config: RunConfig, train: Sequences, folder: Path, progress: Progress) -> Path | None:
    """The adapter that the language model is to be loaded with: the given one, or one that is fitted now, or none.

    Args:
        config: Of it the language and denoise sections count.
        train: The training part; nothing else is learned from.
        folder: Where a fitted adapter is put; one that was made of the same is not fitted again.
        progress: Told the steps.

    Raises:
        InputError: There is nothing to tune the model on.
    """
    settings, language = config.denoise.llm4dsr, config.language
    if not settings.tuning.enabled:
        return settings.adapter
    assert language.model is not None  # the configuration sees to it
    encoder = None
    if settings.tuning.intruders == "hard" and language.encoder is not None:
        encoder = SentenceEncoder.load(assets.resolve(language.encoder, "encoder", progress))
    model = LocalModel.load(language.model, progress=progress)
    return tune(model, train, folder, settings, encoder, progress).folder


@dataclass
class PublishedMender:
    """LLM4DSR's edits, and the control's where a gate is given; see `Denoiser` for the methods.

    Args:
        method: The fitted method.
        control: A fitted fusion without a language model.
        judged: What the method said of every view.
    """

    method: LLM4DSR
    control: Denoiser
    judged: dict[View, Judged]

    @property
    def noise_rate(self) -> float:
        """As the control estimates it: the method does not."""
        return self.control.noise_rate

    def propose_from(
        self, verdicts: Verdicts, view: View = "train", *, gate: Float64 | None = None, ask: bool = True
    ) -> Ledger:
        """The method's edits, or those that the control makes of the given confidences."""
        if gate is None:
            return self.method.propose_from(self.judged[view], verdicts.sequences, view)
        return self.control.propose_from(verdicts, view, gate=gate, ask=False)


def judge_as_published(
    config: RunConfig, parts: dict[View, Sequences], readers: Readers, table: Path, progress: Progress
) -> tuple[PublishedMender, dict[View, Verdicts]]:
    """A mender that learned from the training part, and what it says of every part.

    Args:
        config: Of it the language and denoise sections count.
        parts: Training part and histories before the test targets, by view.
        readers: The models that read titles.
        table: File that the titles' vectors are kept in.
        progress: Told what is being done.

    Returns:
        The mender, and verdicts whose `fused` confidence is the method's own probability, which is not calibrated.

    Raises:
        InputError: Nothing tells the nearest title, or there are too few titles.
    """
    settings = config.denoise.llm4dsr
    assert readers.model is not None
    assert config.language.model is not None  # the configuration sees to it
    grounder: Encoder | None = readers.encoder
    if settings.grounding == "model" and config.denoise.kind == "replace":
        # Untuned, and in float32: half the width loses neighbours.
        grounder = LastState(LocalModel.load(config.language.model, dtype="float32", progress=progress))
    method = LLM4DSR(settings, readers.model, grounder, config.denoise.kind, readers.encoder, table, progress)
    method.fit(parts["train"])
    hard = config.denoise.model_copy(update={"soft": 1.0})  # like the method's own edits
    control = Denoiser(hard, readers.encoder, None, progress).fit(parts["train"])
    judged: dict[View, Judged] = {view: method.judge(part, view) for view, part in parts.items()}
    verdicts: dict[View, Verdicts] = {}
    for view, part in parts.items():
        free = control.judge(part)
        verdicts[view] = replace(
            free,
            asked=np.ones_like(free.asked),
            asked_interactions=np.ones_like(free.asked_interactions),
            fused=method.confidence(judged[view], part),
        )
    return PublishedMender(method, control, judged), verdicts
