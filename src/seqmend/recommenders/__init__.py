"""Sequential recommenders: the rows they learn from, the loop that trains them, the models."""

from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.rows import Form, Rows, left_padded, rows_from_sequences
from seqmend.recommenders.sasrec import SASRec, SASRecConfig
from seqmend.recommenders.training import TrainingConfig, TrainingResult, choose_device, train

__all__ = [
    "Backbone",
    "Form",
    "Rows",
    "SASRec",
    "SASRecConfig",
    "TrainingConfig",
    "TrainingResult",
    "choose_device",
    "left_padded",
    "rows_from_sequences",
    "train",
]
