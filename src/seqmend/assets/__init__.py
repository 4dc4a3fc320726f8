"""Named models and corpora: found on this machine or fetched, checked and kept. Nothing else in SeqMend downloads."""

from seqmend.assets.known import Kind
from seqmend.assets.store import Asset, Unreachable, fetch, listing, remove, resolve
from seqmend.files import cache_folder

__all__ = ["Asset", "Kind", "Unreachable", "cache_folder", "fetch", "listing", "remove", "resolve"]
