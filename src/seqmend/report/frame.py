"""The frame of every page: one style, one script, a policy that lets nothing else run, and filters for texts."""

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, cast

import jinja2
from markupsafe import Markup

from seqmend.report import wording
from seqmend.report.findings import tone_of
from seqmend.report.svg import DARK, LIGHT

_TEMPLATES = "templates"


def render(template: str, **content: Any) -> str:
    """A page from a template of ours.

    Args:
        template: File name.
        content: What it shows, beside the style and script that every page has.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seqmend.report", _TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cast("dict[str, Any]", environment.filters).update(_FILTERS)
    style, script = _style(), _resource("report.js")
    return environment.get_template(template).render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        **content,
    )


def _style() -> str:
    def variables(colours: Mapping[str, str]) -> str:
        return "".join(f"--{role}:{colour};" for role, colour in colours.items())

    schemes = (
        f":root{{{variables(LIGHT)}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}\n"
    )
    return schemes + _resource("report.css")


def _resource(name: str) -> str:
    return resources.files("seqmend.report").joinpath(_TEMPLATES, name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What lets a browser run exactly this script or style and no other (Content Security Policy, level 2)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _with_code(text: str) -> Markup:
    """A sentence of ours with what stands between backticks set as code."""
    parts = (Markup("<code>{}</code>" if n % 2 else "{}").format(part) for n, part in enumerate(text.split("`")))
    return Markup("").join(parts)


_FILTERS: dict[str, Any] = {
    function.__name__: function
    for function in (
        wording.count,
        wording.counted,
        wording.duration,
        wording.interval,
        wording.judge_name,
        wording.arm_name,
        wording.backbone_name,
        wording.metric_name,
        wording.name,
        wording.number,
        wording.p_value,
        wording.passage,
        wording.percent,
        wording.sentence,
        wording.signed,
        tone_of,
    )
} | {"with_code": _with_code}
