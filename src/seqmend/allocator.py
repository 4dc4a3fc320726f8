"""Memory settings of the process: large activations are not unmapped and faulted in again at every layer."""

import ctypes
import os
import sys
from pathlib import Path

# Parameter numbers of mallopt(3) in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KEEP_BYTES = 1 << 30
_GROW_BYTES = 64 << 20
_SLACK_BYTES = 2 << 30
_RESIDENT = Path("/proc/self/statm")


def arrange_allocator() -> bool:
    """Make glibc keep freed memory up to 1 GiB for the next operation instead of giving it back; call it at start.

    By default glibc maps every block above some megabytes anew and unmaps it when freed, so a language model's forward
    pass spends its time in page faults. Elsewhere than on glibc nothing is done, nor where the user has set glibc's own
    environment variables.

    Returns:
        Whether the settings were made.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.mallopt
        _ = libc.gnu_get_libc_version
    except (OSError, AttributeError):  # musl and others
        return False
    # Older versions refuse to keep blocks above 32 MiB.
    kept = mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES) or mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    trimmed = mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
    padded = mallopt(_M_TOP_PAD, _GROW_BYTES)
    return bool(kept and trimmed and padded)


class Trimmer:
    """Returns freed memory to the system now and then.

    What glibc keeps lies between blocks that are in use: batches of many different sizes leave gaps that few later ones
    fit, and the process grows (20 MB per question whose answers are read whole, where 1 MB is in use).

    Args:
        slack: Bytes by which the process may grow before it is trimmed.
    """

    def __init__(self, slack: int = _SLACK_BYTES) -> None:
        self._slack, self._settled = slack, 0
        libc = ctypes.CDLL(None) if sys.platform == "linux" and _RESIDENT.exists() else None
        self._trim = getattr(libc, "malloc_trim", None)

    def __call__(self) -> bool:
        """Trim if the process has grown that far since the last time; whether it was."""
        if self._trim is None or _resident() < self._settled + self._slack:
            return False
        self._trim(0)
        self._settled = _resident()
        return True


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(_RESIDENT.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


trim = Trimmer()
"""Of this process."""
