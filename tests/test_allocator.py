import os
import subprocess
import sys

import pytest

from seqmend import allocator

# Page faults of making and freeing 40 MB ten times, which glibc by itself maps anew each time.
FAULTS = """
import resource, runpy, sys
arranged = runpy.run_path(sys.argv[1])["arrange_allocator"]()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    bytearray(40 << 20)
print(arranged, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> tuple[bool, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, allocator.__file__],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    arranged, number = done.stdout.split()
    return arranged == "True", int(number)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has these settings")
def test_freed_memory_is_used_again() -> None:
    arranged, number = faults()
    if not arranged:
        pytest.skip("this C library has no such settings")
    left_alone, without = faults(MALLOC_ARENA_MAX="4")  # the user's own settings are respected
    assert not left_alone
    assert number < without / 3
