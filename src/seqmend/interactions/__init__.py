"""Interactions, items and sequences: reading, checking, splitting, known noise, writing."""

from seqmend.interactions.columns import ALIASES, ColumnNames
from seqmend.interactions.exports import Export, ExportFormat, export_log
from seqmend.interactions.items import ItemList, read_item_columns, read_items
from seqmend.interactions.log import Log, LogSummary
from seqmend.interactions.noise import NoiseKind, Noisy, inject, nearest_items, undo
from seqmend.interactions.reading import read_log
from seqmend.interactions.sequences import PADDING, Catalogue, Sequences
from seqmend.interactions.splits import Split, Targets, View, global_time, leave_one_out, window_targets
from seqmend.interactions.titles import UNTITLED, clean_title
from seqmend.interactions.writing import write_interactions, write_table

__all__ = [
    "ALIASES",
    "PADDING",
    "UNTITLED",
    "Catalogue",
    "ColumnNames",
    "Export",
    "ExportFormat",
    "ItemList",
    "Log",
    "LogSummary",
    "NoiseKind",
    "Noisy",
    "Sequences",
    "Split",
    "Targets",
    "View",
    "clean_title",
    "export_log",
    "global_time",
    "inject",
    "leave_one_out",
    "nearest_items",
    "read_item_columns",
    "read_items",
    "read_log",
    "undo",
    "window_targets",
    "write_interactions",
    "write_table",
]
