"""The plain backbones by name."""

from typing import Annotated

from pydantic import Field

from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.bert4rec import BERT4Rec, BERT4RecConfig
from seqmend.recommenders.caser import Caser, CaserConfig
from seqmend.recommenders.fmlprec import FMLPRec, FMLPRecConfig
from seqmend.recommenders.gru4rec import GRU4Rec, GRU4RecConfig
from seqmend.recommenders.lrurec import LRURec, LRURecConfig
from seqmend.recommenders.sasrec import SASRec, SASRecConfig

PlainConfig = Annotated[
    SASRecConfig | BERT4RecConfig | GRU4RecConfig | CaserConfig | FMLPRecConfig | LRURecConfig,
    Field(discriminator="name"),
]
"""Configuration of any plain backbone, told apart by its `name`."""


def make_plain(config: PlainConfig, n_items: int, n_users: int = 0, seed: int = 0) -> Backbone:
    """A plain backbone with fresh weights.

    Args:
        config: Which, and its sizes.
        n_items: V.
        n_users: Users that may get a vector of their own, for models that have such.
        seed: Of the initial weights.
    """
    match config:
        case SASRecConfig():
            return SASRec(n_items, config, seed)
        case BERT4RecConfig():
            return BERT4Rec(n_items, config, seed)
        case GRU4RecConfig():
            return GRU4Rec(n_items, config, seed)
        case CaserConfig():
            return Caser(n_items, config, n_users, seed)
        case FMLPRecConfig():
            return FMLPRec(n_items, config, seed)
        case LRURecConfig():
            return LRURec(n_items, config, seed)
