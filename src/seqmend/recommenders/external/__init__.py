"""Models of other frameworks, trained in their own environments through exported files."""

from seqmend.recommenders.external.adapter import ExternalConfig, ExternalScores, Framework, external_scores

__all__ = ["ExternalConfig", "ExternalScores", "Framework", "external_scores"]
