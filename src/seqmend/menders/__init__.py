"""Menders: each proposes a ledger of edits for a log."""
