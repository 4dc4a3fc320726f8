"""Every backbone by name."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.plain import PlainConfig, make_plain


def _sasrec_by_default(values: Any) -> Any:
    return {"name": "sasrec", **values} if isinstance(values, dict) else values


BackboneConfig = Annotated[PlainConfig, Field(discriminator="name"), BeforeValidator(_sasrec_by_default)]
"""Configuration of any backbone, told apart by its `name`; without one it is SASRec."""


def make_backbone(config: BackboneConfig, n_items: int, n_users: int = 0, seed: int = 0) -> Backbone:
    """A backbone with fresh weights.

    Args:
        config: Which, and its sizes.
        n_items: V.
        n_users: Users that may get a vector of their own, for models that have such.
        seed: Of the initial weights.
    """
    return make_plain(config, n_items, n_users, seed)
