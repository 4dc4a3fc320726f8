"""The few figures that tell how large a run was."""

from dataclasses import dataclass

from seqmend.report.record import Manifest, Metrics
from seqmend.report.wording import count, counted, duration, name, percent


@dataclass(frozen=True)
class KeyFigure:
    """A number that stands out, what it counts, and what puts it into proportion."""

    value: str
    label: str
    note: str = ""


def key_figures(metrics: Metrics, manifest: Manifest | None = None) -> list[KeyFigure]:
    """Interactions, noise, edits, the language model's part, and time, as far as the run recorded them.

    Args:
        metrics: The run.
        manifest: How it was made; without it there is no time.
    """
    dataset, edits, llm = metrics.dataset, metrics.edits, metrics.llm
    figures: list[KeyFigure] = []
    if dataset.interactions is not None:
        parts = [(dataset.users, "user"), (dataset.items, "item")]
        note = ", ".join(counted(n, what) for n, what in parts if n is not None)
        figures.append(KeyFigure(count(dataset.interactions), "interactions", note))
    if dataset.noise is not None:
        note = f"{percent(dataset.noise.ratio)} {name(dataset.noise.kind)} noise, injected"
        figures.append(KeyFigure(count(dataset.noise.n), "noisy interactions", note))
    if edits is not None:
        share = edits.share_of_interactions
        of = [f"of {count(edits.proposed)} proposed"] if edits.proposed else []
        of += [f"{percent(share, 1)} of interactions"] if share is not None else []
        softened = edits.by_kind.get("reweight")
        of += [f"{count(softened)} more weigh less"] if softened else []
        figures.append(KeyFigure(count(edits.accepted), "edits accepted", ", ".join(of)))
    if llm is None or not llm.model:
        figures.append(KeyFigure("None", "language model", "witnesses without one decided alone"))
    elif llm.windows_asked is not None:
        of = f"of {count(llm.windows_total)}, " if llm.windows_total is not None else ""
        figures.append(KeyFigure(count(llm.windows_asked), "windows asked", f"{of}{name(llm.model)}"))
    else:
        figures.append(KeyFigure(count(llm.calls), "questions asked", name(llm.model)))
    if manifest is not None and manifest.stages:
        memory = manifest.peak_memory_mib
        reused = sum(stage.reused for stage in manifest.stages)
        notes = [f"peak memory {memory / 1024:.1f} GiB"] if memory is not None else []
        notes += [f"{reused} of {counted(len(manifest.stages), 'stage')} reused"] if reused else []
        figures.append(
            KeyFigure(duration(sum(stage.seconds for stage in manifest.stages)), "computing time", ", ".join(notes))
        )
    return figures
