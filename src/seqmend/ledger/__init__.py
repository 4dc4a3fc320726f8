"""Edits with their confidence and reason, and sequences as they make them."""

from seqmend.ledger.edits import COLUMNS, IS_CHANGE
from seqmend.ledger.ledger import Ledger
from seqmend.ledger.mended import Mended

__all__ = ["COLUMNS", "IS_CHANGE", "Ledger", "Mended"]
