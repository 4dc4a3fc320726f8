"""SeqMend mends the interaction sequences that sequential recommenders learn from."""

__version__ = "0.1.0"
