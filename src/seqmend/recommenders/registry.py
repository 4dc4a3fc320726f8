"""Every backbone by name."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.plain import PlainConfig, make_plain
from seqmend.recommenders.robust import (
    BERD,
    HSD,
    STEAM,
    BERDConfig,
    BirDRec,
    BirDRecConfig,
    HSDConfig,
    SSDRec,
    SSDRecConfig,
    STEAMConfig,
)


def _sasrec_by_default(values: Any) -> Any:
    return {"name": "sasrec", **values} if isinstance(values, dict) else values


BackboneConfig = Annotated[
    PlainConfig | BirDRecConfig | BERDConfig | STEAMConfig | HSDConfig | SSDRecConfig,
    Field(discriminator="name"),
    BeforeValidator(_sasrec_by_default),
]
"""Configuration of any backbone, told apart by its `name`; without one it is SASRec."""


def make_backbone(config: BackboneConfig, n_items: int, n_users: int = 0, seed: int = 0) -> Backbone:
    """A backbone with fresh weights.

    Args:
        config: Which, and its sizes.
        n_items: V.
        n_users: Users that may get a vector of their own, for models that have such.
        seed: Of the initial weights.
    """
    match config:
        case BirDRecConfig():
            return BirDRec(n_items, config, n_users, seed)
        case BERDConfig():
            return BERD(n_items, config, n_users, seed)
        case STEAMConfig():
            return STEAM(n_items, config, n_users, seed)
        case HSDConfig():
            return HSD(n_items, config, n_users, seed)
        case SSDRecConfig():
            return SSDRec(n_items, config, n_users, seed)
        case _:
            return make_plain(config, n_items, n_users, seed)
