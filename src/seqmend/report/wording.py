"""How numbers, arms and witnesses are written wherever people read them."""

from seqmend.interactions import clean_title
from seqmend.report.record import Interval, TestHistory

ARMS = {
    "raw": "Raw log",
    "random": "Random edits",
    "llm_free": "Mended, no language model",
    "mended": "Mended",
    "oracle_same_scope": "Oracle, editable noise",
    "oracle": "Oracle, all noise undone",
}
"""Names of the arms, in the order in which they are shown."""

BACKBONES = {"sasrec": "SASRec"}
JUDGES = {"fused": "Fused confidence", "llm_free": "Fused, no language model"}
TEST_HISTORIES: dict[TestHistory, str] = {"as_is": "test histories as they are", "mended": "test histories mended"}

_LONGEST_NAME = 60
_LONGEST_REASON = 400
_LONGEST_PASSAGE = 2000


def arm_name(arm: str) -> str:
    """Name of an arm; an unknown one is shown by its own name.

    >>> arm_name("without_denoise")
    'Mended without denoise'
    """
    if arm.startswith("without_"):
        return f"Mended without {name(arm.removeprefix('without_'))}"
    return ARMS.get(arm) or name(arm)


def backbone_name(backbone: str) -> str:
    """Name of a backbone as its authors write it; an unknown one is shown by its own name."""
    return BACKBONES.get(backbone) or name(backbone)


def judge_name(judge: str) -> str:
    """Name of a confidence: the fused one, or a witness by its own name.

    >>> judge_name("co-occurrence")
    'Co-occurrence'
    """
    own = name(judge)
    return JUDGES.get(judge) or own[:1].upper() + own[1:]


def metric_name(metric: str) -> str:
    """Name of a metric.

    >>> metric_name("ndcg@10"), metric_name("top1")
    ('NDCG@10', 'Top-1')
    """
    return {"top1": "Top-1", "f1": "F1"}.get(metric) or name(metric).upper()


def name(text: object) -> str:
    """Any short text of a file as one clean line."""
    return clean_title(str(text), _LONGEST_NAME)


def sentence(text: str) -> str:
    """A longer text of a file as one clean line."""
    return clean_title(text, _LONGEST_REASON)


def passage(text: str) -> str:
    """What a model wrote, as one clean line."""
    return clean_title(text, _LONGEST_PASSAGE)


def number(value: float | None, decimals: int = 4) -> str:
    """A figure with a true minus sign; a dash where there is none.

    >>> number(-0.00123), number(None), number(0.5, 2)
    ('−0.0012', '–', '0.50')
    """
    if value is None:
        return "–"
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def signed(value: float, decimals: int = 4) -> str:
    """A difference with its sign.

    >>> signed(0.00123), signed(-0.00001)
    ('+0.0012', '0.0000')
    """
    text = number(value, decimals)
    return f"+{text}" if value > 0 and float(text) else text


def interval(ci95: Interval, decimals: int = 4, *, sign: bool = False) -> str:
    """Both ends of an interval.

    >>> interval((-0.001, 0.0024), sign=True)
    '−0.0010 to +0.0024'
    """
    write = signed if sign else number
    return f"{write(ci95[0], decimals)} to {write(ci95[1], decimals)}"


def percent(share: float, decimals: int = 0) -> str:
    """A share as a percentage.

    >>> percent(0.413), percent(0.0812, 1)
    ('41%', '8.1%')
    """
    return f"{number(100 * share, decimals)}%"


def count(value: float) -> str:
    """A whole number with its thousands apart.

    >>> count(100000)
    '100,000'
    """
    return f"{value:,.0f}"


def counted(value: int, one: str, many: str | None = None) -> str:
    """A number and what is counted.

    >>> counted(1, "seed"), counted(1200, "seed"), counted(2, "history", "histories")
    ('1 seed', '1,200 seeds', '2 histories')
    """
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def p_value(value: float) -> str:
    """A p-value, never rounded to 0.

    >>> p_value(0.0004), p_value(0.0312)
    ('< 0.001', '0.031')
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(0.42), duration(75), duration(3725)
    ('0.4 s', '1 min 15 s', '1 h 2 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
