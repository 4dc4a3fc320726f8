"""Settings of the denoise mender."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from seqmend.menders.denoise.llm4dsr import LLM4DSRConfig, Scorer
from seqmend.menders.denoise.networks import NetworkConfig

Edit = Literal["replace", "delete", "mask", "reweight"]


class DenoiseConfig(BaseModel):
    """Settings of the denoise mender.

    Attributes:
        method: `fusion` of many witnesses with calibrated confidence, or LLM4DSR as published (`llm4dsr`), whose own
            settings hold the switch between its corrected and its code-faithful form.
        scorer: How the language model reads whole windows for the fusion: without tuning, by mutual information, or by
            one of LLM4DSR's noise scores, for which `llm4dsr.tuning` or `llm4dsr.adapter` should tune it.
        llm4dsr: Settings of the published method, and of the tuning that both methods may use.
        max_length: Items per window (LLM4DSR: 10).
        stride: Distance of window starts; `max_length` where absent.
        corruption_rate: Share of training cells that are corrupted to learn from.
        corruption_rounds: How often every training window is corrupted anew.
        learning_windows: Most corrupted windows that the fusion learns from; of a longer log so many windows are drawn,
            for the networks too. All of it is judged in any case.
        folds: Groups of users; a user is judged by statistics of the other groups.
        networks: Whether small networks judge whole windows beside the trees; they take most of the time that learning
            takes, and see more in sparse logs.
        network: Their settings.
        tuning_windows: Self-corrupted windows that the language model is asked about, to learn how far to trust it.
        language_windows: Windows of the log that the language model reads, those first whose verdict it is expected to
            change most; absent: every window, as far as the budget goes; 0: none, nor any to learn from.
        language_share: The same limit as a share of the windows; the lower holds.
        language_replacements: Replacements that the language model is asked to suggest, the surest edits first; the
            others are suggested by co-occurrence.
        noise_rate: Share of noise in the log; estimated where absent.
        threshold: Least confidence of an edit.
        edit: What is done to an interaction that reaches it; absent: the fusion deletes it, LLM4DSR replaces it.
        soft: Least confidence from which the fusion gives a training interaction below `threshold` less weight in the
            loss, 1 - confidence, and leaves it in its place otherwise; 1 = never.
        max_edits: Most edits per user, not counting those that only lower weights; no limit where absent.
        seed: Of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["fusion", "llm4dsr"] = "fusion"
    scorer: Scorer | Literal["mutual_information"] = "mutual_information"
    llm4dsr: LLM4DSRConfig = LLM4DSRConfig()
    max_length: int = Field(default=10, ge=2)
    stride: int | None = Field(default=None, ge=1)
    corruption_rate: float = Field(default=0.1, gt=0, lt=0.5)
    corruption_rounds: int = Field(default=3, ge=1)
    learning_windows: int = Field(default=300_000, ge=1000)
    folds: int = Field(default=5, ge=2)
    networks: bool = True
    network: NetworkConfig = NetworkConfig()
    tuning_windows: int = Field(default=400, ge=50)
    language_windows: int | None = Field(default=None, ge=0)
    language_share: float | None = Field(default=None, ge=0, le=1)
    language_replacements: int = Field(default=100, ge=0)
    noise_rate: float | None = Field(default=None, gt=0, lt=1)
    threshold: float = Field(default=0.6, ge=0, le=1)
    edit: Edit | None = None
    soft: float = Field(default=0.05, gt=0, le=1)
    max_edits: int | None = Field(default=None, ge=0)
    seed: int = 0

    @property
    def kind(self) -> Edit:
        """Of the edits of what reaches the threshold."""
        return self.edit or ("delete" if self.method == "fusion" else "replace")
