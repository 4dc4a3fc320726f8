"""Sequential recommenders: the rows they learn from, the loop that trains them, the models."""

from seqmend.recommenders.backbone import Backbone, Batch, Objective
from seqmend.recommenders.bert4rec import BERT4RecConfig
from seqmend.recommenders.caser import CaserConfig
from seqmend.recommenders.dual_channel import AUGMENTED, Channels, MeanOver, dual_channel_rows
from seqmend.recommenders.fmlprec import FMLPRecConfig
from seqmend.recommenders.gru4rec import GRU4RecConfig
from seqmend.recommenders.instance_edits import with_instance_edits
from seqmend.recommenders.lrurec import LRURecConfig
from seqmend.recommenders.registry import BackboneConfig, make_backbone
from seqmend.recommenders.reliability import Reliability, TrainingDynamics
from seqmend.recommenders.robust import BERDConfig, BirDRecConfig, HSDConfig, SSDRecConfig, STEAMConfig
from seqmend.recommenders.rows import Form, Rows, left_padded, rows_from_sequences
from seqmend.recommenders.sasrec import SASRec, SASRecConfig
from seqmend.recommenders.saving import load_backbone, save_backbone
from seqmend.recommenders.training import (
    TrainingConfig,
    TrainingDivergedError,
    TrainingResult,
    refuse_untrainable,
    train,
)

__all__ = [
    "AUGMENTED",
    "BERDConfig",
    "BERT4RecConfig",
    "Backbone",
    "BackboneConfig",
    "Batch",
    "BirDRecConfig",
    "CaserConfig",
    "Channels",
    "FMLPRecConfig",
    "Form",
    "GRU4RecConfig",
    "HSDConfig",
    "LRURecConfig",
    "MeanOver",
    "Objective",
    "Reliability",
    "Rows",
    "SASRec",
    "SASRecConfig",
    "SSDRecConfig",
    "STEAMConfig",
    "TrainingConfig",
    "TrainingDivergedError",
    "TrainingDynamics",
    "TrainingResult",
    "dual_channel_rows",
    "left_padded",
    "load_backbone",
    "make_backbone",
    "refuse_untrainable",
    "rows_from_sequences",
    "save_backbone",
    "train",
    "with_instance_edits",
]
