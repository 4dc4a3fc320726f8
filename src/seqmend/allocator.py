"""Memory settings of the process: large activations are not unmapped and faulted in again at every layer."""

import ctypes
import os
import sys

# Parameter numbers of mallopt(3) in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KEEP_BYTES = 1 << 30
_GROW_BYTES = 64 << 20


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
