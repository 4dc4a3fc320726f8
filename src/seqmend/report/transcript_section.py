"""The descent's transcript as a section of a page: every prompt, its errors, the reasons given, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from seqmend.errors import InputError
from seqmend.menders.correct import Transcript
from seqmend.report.svg import BY_SCHEME, Canvas, Colours, Scale
from seqmend.report.wording import number

_WIDTH, _HEIGHT = 928, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 20, 20, 50
_LEAST_SPAN = 0.1
_ENDED = {
    "epochs": "all its epochs were done",
    "patience": "no epoch brought a better prompt",
    "budget": "the budget was spent",
}


@dataclass(frozen=True)
class TranscriptSection:
    """What the template shows.

    Attributes:
        transcript: All of it.
        chart: F1 on the validation rows by epoch; None where there are none.
        ended: Why it ended, in words.
        names: What every prompt is called, by digest.
    """

    transcript: Transcript
    chart: Markup | None
    ended: str
    names: dict[str, str]


def transcript_section(path: Path) -> TranscriptSection | None:
    """The section of a transcript; None where there is no such file.

    Args:
        path: What the descent wrote.

    Raises:
        InputError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        transcript = TypeAdapter(Transcript).validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"the transcript is damaged: {error.errors()[0]['msg']}", where=str(path), fix="run again"
        ) from error
    names = {digest: f"Prompt {place}" for place, digest in enumerate(transcript.wordings, 1)}
    chart = descent_chart(transcript).markup() if transcript.start else None
    return TranscriptSection(transcript, chart, _ENDED[transcript.ended_by], names)


def descent_chart(transcript: Transcript, colours: Colours = BY_SCHEME) -> Canvas:
    """F1 on the validation rows: of the start prompts and of every epoch's beam (dots), of the kept prompt (line), and
    of naming every input unseen (dashed).

    Args:
        transcript: With marks of the start prompts.
        colours: The colour of every role.
    """
    columns: list[Mapping[str, Any]] = [transcript.start, *(epoch.validation for epoch in transcript.epochs)]
    values = [[means["f1"] for means in column.values()] for column in columns]
    best: list[float] = []
    for column in values:
        best.append(max([*column, *best[-1:]]))
    said = "; ".join(f"epoch {epoch}: {number(f1, 3)}" for epoch, f1 in enumerate(best))
    canvas = Canvas(_WIDTH, _HEIGHT, f"F1 of the best prompt on the validation rows. {said}.")
    x = Scale(-0.3, max(len(columns) - 1, 1) + 0.3, _LEFT, _WIDTH - _RIGHT)
    blind = [means["all"]["f1"] for part, means in transcript.blind.items() if part == "validation"]
    shown = [*blind, *(value for column in values for value in column)]
    middle = (min(shown) + max(shown)) / 2
    ends = (middle - _LEAST_SPAN / 2, middle + _LEAST_SPAN / 2)  # differences of thousandths shall look like that
    y = Scale.around([*shown, *ends], _HEIGHT - _BOTTOM, _TOP)
    for value, text in y.ticks(5):
        canvas.line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), colours["line"])
        canvas.text(_LEFT - 8, y(value) + 4, text, colours["muted"], size=11, anchor="end")
    for value in blind:
        canvas.line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), colours["muted"], dash="3 3")
        beside = 14 if value <= best[-1] else -5  # away from the line of the kept prompt
        canvas.text(_WIDTH - _RIGHT, y(value) + beside, "naming all", colours["muted"], size=11, anchor="end")
    for epoch, column in enumerate(values):
        label = "start" if epoch == 0 else str(epoch)
        canvas.text(x(epoch), _HEIGHT - _BOTTOM + 17, label, colours["muted"], size=11, anchor="middle")
        for value in column:
            canvas.dot(x(epoch), y(value), 3, colours["muted"], tip=f"F1 {number(value, 3)}")
    canvas.path([(x(epoch), y(f1)) for epoch, f1 in enumerate(best)], colours["mended"], width=2.2)
    for epoch, f1 in enumerate(best):
        canvas.dot(x(epoch), y(f1), 4.5, colours["mended"], colours["card"], tip=f"kept: F1 {number(f1, 3)}")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    canvas.text(middle, _HEIGHT - 12, "Epoch", colours["muted"], size=11.5, anchor="middle")
    return canvas
