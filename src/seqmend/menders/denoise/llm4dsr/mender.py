"""LLM4DSR (arXiv 2408.08208): the tuned language model names what does not belong, a gate decides, it says what would.

`LLM4DSRConfig.mode` is the switch between the corrected, leakage-free method and the official code's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences, View
from seqmend.ledger import Ledger
from seqmend.llm import Encoder, LanguageModel, LocalModel
from seqmend.menders.denoise.llm4dsr import prompt
from seqmend.menders.denoise.llm4dsr.config import LLM4DSRConfig
from seqmend.menders.denoise.llm4dsr.gate import Gate, fit_threshold, flagged_items, pooled_quantile
from seqmend.menders.denoise.llm4dsr.scores import SCORERS
from seqmend.menders.denoise.llm4dsr.tuning import calibration_windows, shown
from seqmend.menders.denoise.llm4dsr.windows import Cells, all_instances, last_histories
from seqmend.menders.denoise.replacement import Grounding, GroundingTable, Suggestion, first_title
from seqmend.menders.denoise.statistics import Float32, Float64
from seqmend.menders.denoise.verdicts import Surroundings
from seqmend.menders.denoise.windows import Int32, Int64, Windows, cut, mean_by_position
from seqmend.progress import Progress, silent

_NAME = "denoise"

Edit = Literal["replace", "delete", "mask", "reweight"]


class LastState:
    """A model's last hidden state of a title's last token: LLM4DSR's embedding of titles (encode.py), in float32.

    Args:
        model: The untuned model; load it in float32.
    """

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.identity = f"{model.identity}#last"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of the texts, float32 [n, d], not normalised."""
        return self.model.hidden_states(texts, -1, "last")


@dataclass(frozen=True, eq=False)
class Judged:
    """What the model said of the cells of a view's windows.

    Attributes:
        windows: The windows.
        cells: Their cells that hold an item, in a row.
        log_probability: Noise score of every cell, float64 [C], natural log; NaN where not judged.
        p_none: Probability that nothing in its window is noisy, float64 [C].
    """

    windows: Windows
    cells: Cells
    log_probability: Float64
    p_none: Float64


@dataclass
class LLM4DSR:
    """The published mender: `fit` on training sequences, then `propose`.

    Args:
        config: Settings; `config.mode` is the switch.
        model: The language model, tuned (see `tuning.tune`) or not.
        grounder: Makes the vectors that the nearest title is found by: a sentence encoder, or `LastState`. Only needed
            to replace.
        edit: What is done to a flagged interaction.
        encoder: Of titles, where intruders are hard.
        table: File that the grounder's vectors of the catalogue are kept in; made anew each time where absent.
        progress: Told what is being done.

    Attributes:
        threshold: On the probability that a cell is named, in [0, 1]: given, or fitted by `fit`.
    """

    config: LLM4DSRConfig
    model: LanguageModel
    grounder: Encoder | None
    edit: Edit = "replace"
    encoder: Encoder | None = None
    table: Path | None = None
    progress: Progress = silent
    threshold: float = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        if self.edit == "replace" and self.grounder is None:
            raise InputError(
                "replacing needs something that tells the nearest title",
                fix='set language.encoder = "minilm-l6", denoise.llm4dsr.grounding = "model", or another edit',
            )
        if self.edit != "replace" and self.config.verdicts == "window":
            raise InputError(
                f"verdicts per window can only replace, not {self.edit}",
                fix='set denoise.llm4dsr.verdicts = "interaction" or denoise.edit = "replace"',
            )

    def fit(self, train: Sequences) -> Self:
        """Fit the threshold on corrupted windows of held-out training users, and learn which items are popular.

        Raises:
            InputError: Too few titles to corrupt windows with, or the kept grounding table is another catalogue's.
        """
        config, catalogue = self.config, train.catalogue
        if config.threshold is not None:
            self.threshold = config.threshold
        elif config.gate == "probability":
            self.progress("fitting the gate", 0, 0)
            windows = calibration_windows(train, config, self.encoder)
            scores = SCORERS[config.scorer](windows.items, catalogue, self.model)
            rows, columns = np.nonzero(windows.items)
            values = np.exp(scores.log_probability[rows, columns])
            truth = windows.mask[rows, columns]
            none, above = scores.p_none[rows], config.above_none
            self.threshold = fit_threshold(values, none, truth, rows, config.max_edits, above)
        if self.edit == "replace" and self.grounder is not None:
            vectors = self._title_vectors(catalogue, self.grounder)
            popularity = np.bincount(train.items, minlength=len(catalogue) + 1).astype(np.float64)
            self._grounding = Grounding(
                catalogue, popularity, self.grounder, vectors, config.exclude, config.max_distance
            )
        return self

    def judge(self, sequences: Sequences, view: View = "train") -> Judged:
        """Noise scores of a view's windows.

        Args:
            sequences: The part of the data that the view may use: never a held-out target.
            view: Training windows may hold their target (`with_target`); a held-out history is one window.
        """
        windows = self._windows(sequences, view)
        scores = SCORERS[self.config.scorer](windows.items, sequences.catalogue, self.model)
        log_probability = scores.log_probability
        p_none = np.broadcast_to(scores.p_none[:, None], log_probability.shape)
        if self.config.verdicts == "interaction":
            by_interaction = mean_by_position(log_probability, windows, sequences)
            none = mean_by_position(np.where(windows.real, p_none, np.nan), windows, sequences)
            everything = np.arange(sequences.n_interactions)
            cells = Cells(sequences.users.astype(np.int64), sequences.positions, everything)
            return Judged(windows, cells, by_interaction, none)
        cells = Cells.of(windows, sequences)
        return Judged(windows, cells, log_probability[cells.rows, cells.columns], p_none[cells.rows, cells.columns])

    def confidence(self, judged: Judged, sequences: Sequences) -> Float64:
        """Probability that an interaction is named, float64 [N] in [0, 1]: the mean over its windows' log-scores.

        0 where an interaction was not judged. It is not calibrated: the tuning examples decide how often one is named.
        """
        total = np.bincount(judged.cells.interactions, np.nan_to_num(judged.log_probability), sequences.n_interactions)
        heard = np.bincount(judged.cells.interactions[~np.isnan(judged.log_probability)], minlength=len(total))
        return np.where(heard > 0, np.exp(total / np.maximum(heard, 1)), 0.0)

    def propose(self, sequences: Sequences, view: View = "train") -> Ledger:
        """Edits for what passes the gate.

        With one verdict per interaction, and for held-out histories, edits change the interaction wherever it is used.
        With one per window, an edit of a training view is for the window's target alone (scope "instance"); the target
        itself, where windows show it, is retargeted. Held-out targets are in no window: the paper's code could rewrite
        the test label (trap T3), a ledger cannot.

        Args:
            sequences: See `judge`.
            view: Which use of the sequences is edited.
        """
        return self.propose_from(self.judge(sequences, view), sequences, view)

    def propose_from(self, judged: Judged, sequences: Sequences, view: View = "train") -> Ledger:
        """Edits from scores that are already there."""
        chosen = self._passing(judged, sequences, view)
        columns, items = self._around(judged, sequences, chosen)
        suggestions: list[Suggestion | None] = [None] * len(chosen)
        if self.edit == "replace":
            suggestions = self._suggest(columns, items, sequences)
            before = sequences.items[judged.cells.interactions[chosen]].tolist()
            # Nothing was written, nothing was near enough, or the item itself: all keep the original.
            kept = [n for n, said in enumerate(suggestions) if said is not None and said.item != before[n]]
            chosen, columns, items = chosen[kept], columns[kept], items[kept]
            suggestions = [suggestions[n] for n in kept]
        return self._ledger(judged, sequences, view, chosen, columns, items, suggestions)

    def _passing(self, judged: Judged, sequences: Sequences, view: View) -> Int64:
        """Cells that pass the gate, int64 [E]."""
        config, cells, values = self.config, judged.cells, judged.log_probability
        max_edits = self._max_edits(view)
        groups = cells.rows
        if config.verdicts == "interaction":  # the budget is that of a window's worth of neighbours
            blocks = cells.columns // config.max_length
            groups = cells.rows * (int(blocks.max(initial=0)) + 1) + blocks
        if config.edits_by == "item":
            items = sequences.items[cells.interactions]
            return np.flatnonzero(flagged_items(values, items, groups, self._log_threshold(judged, view), max_edits))
        none = np.log(np.maximum(judged.p_none, np.finfo(np.float64).tiny))
        gate = Gate(self._log_threshold(judged, view), max_edits, config.above_none)
        return np.flatnonzero(gate.passing(values, none, groups))

    def _max_edits(self, view: View) -> int:
        config = self.config
        return config.max_edits if view == "train" or config.max_edits_test is None else config.max_edits_test

    def _log_threshold(self, judged: Judged, view: View) -> float:
        if self.config.gate == "quantile":
            quantile = self.config.quantile if view == "train" else self.config.quantile_test
            return pooled_quantile(judged.log_probability, quantile)
        return float(np.log(self.threshold)) if self.threshold > 0 else -np.inf

    def _title_vectors(self, catalogue: Catalogue, grounder: Encoder) -> Float32:
        if self.table is not None and self.table.exists():
            return GroundingTable.read(self.table, catalogue, grounder).vectors
        self.progress("reading the catalogue's titles", 0, 0)
        table = GroundingTable.of(catalogue, grounder)
        if self.table is not None:
            table.write(self.table)
        return table.vectors

    def _windows(self, sequences: Sequences, view: View) -> Windows:
        config = self.config
        if config.verdicts == "interaction":
            return cut(sequences, config.max_length, config.stride)
        if view != "train":
            return last_histories(sequences, config.max_length)
        windows = all_instances(sequences, config.max_length)
        if config.with_target:
            return windows
        return Windows(windows.items[:, :-1], windows.users, windows.starts)

    def _around(self, judged: Judged, sequences: Sequences, chosen: Int64) -> tuple[Int64, Int32]:
        """Column of every chosen cell, int64 [E], and the items of a window around it, int32 [E, L]."""
        cells = judged.cells
        if self.config.verdicts == "window":
            return cells.columns[chosen], judged.windows.items[cells.rows[chosen]]
        around = Surroundings.of(sequences, cells.interactions[chosen], self.config.max_length)
        return around.columns, around.items

    def _suggest(self, columns: Int64, items: Int32, sequences: Sequences) -> list[Suggestion | None]:
        titles = sequences.catalogue.prompt_titles
        prompts: list[str] = []
        for row, column in zip(items, columns.tolist(), strict=True):
            listed = [titles[item] for item in row[shown(row, sequences.catalogue)].tolist()]
            prompts.append(prompt.suggestion(listed, titles[int(row[column])]))
        written = self.model.write(prompts, self.config.max_new_tokens, stop='"')
        return self._grounding.suggest([first_title(text) for text in written], items)

    def _ledger(
        self,
        judged: Judged,
        sequences: Sequences,
        view: View,
        chosen: Int64,
        columns: Int64,
        items: Int32,
        suggestions: list[Suggestion | None],
    ) -> Ledger:
        config, cells, catalogue = self.config, judged.cells, sequences.catalogue
        interactions = cells.interactions[chosen]
        positions = sequences.positions[interactions]
        confidence = np.exp(judged.log_probability[chosen])
        told = {
            "scorer": config.scorer,
            "threshold": round(float(np.exp(self._log_threshold(judged, view))), 6),
            "max_edits": self._max_edits(view),
        }
        reasons: list[str] = []
        evidence: list[str] = []
        for n, (row, column) in enumerate(zip(items, columns.tolist(), strict=True)):
            p_named, p_none = float(confidence[n]), float(judged.p_none[chosen[n]])
            facts: dict[str, object] = {
                "window": [catalogue.prompt_titles[item] for item in row.tolist() if item],
                "index": int((row[:column] > 0).sum()),
                "title_before": catalogue.prompt_titles[int(row[column])],
                "score": {**told, "p_named": round(p_named, 6), "p_none": round(p_none, 6)},
                "model": self.model.identity,
            }
            if suggestion := suggestions[n]:
                facts["title_after"] = catalogue.prompt_titles[suggestion.item]
                facts["replacement"] = suggestion.to_dict()
            evidence.append(json.dumps(facts, ensure_ascii=False))
            reasons.append(f"the language model names it as what does not belong (probability {p_named:.2g})")
        edits = pl.DataFrame(
            {
                "user_id": sequences.user_ids.gather(sequences.users[interactions]),
                "position": pl.Series(positions),
                "item_after": pl.Series(
                    [catalogue.item_ids[s.item] if s else None for s in suggestions], dtype=pl.String
                ),
                "confidence": pl.Series(np.minimum(confidence, 1.0)),
                "reason": pl.Series(reasons, dtype=pl.String),
                "evidence": pl.Series(evidence, dtype=pl.String),
            }
        ).with_columns(view=pl.lit(view), kind=pl.lit(self.edit))
        if self.edit == "reweight":
            edits = edits.with_columns(weight=1 - pl.col("confidence"))
        if config.verdicts == "window" and view == "train":
            targets = judged.windows.starts[cells.rows[chosen]] + config.max_length
            kinds = [
                "retarget" if position == target else "replace"
                for position, target in zip(positions.tolist(), targets.tolist(), strict=True)
            ]
            edits = edits.with_columns(
                scope=pl.lit("instance"), target_position=pl.Series(targets), kind=pl.Series(kinds, dtype=pl.String)
            )
        return Ledger.propose(edits, sequences, _NAME)
