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


# Megabytes in memory with 300 MB freed between blocks that stay, and after trimming.
GAPS = """
import runpy, sys
allocator = runpy.run_path(sys.argv[1])
arranged = allocator["arrange_allocator"]()
pairs = [(bytearray(1 << 20), bytearray(1000)) for _ in range(300)]
kept = [small for _, small in pairs]
del pairs
trim = allocator["Trimmer"](slack=100 << 20)
before = allocator["_resident"]()
print(arranged, trim(), trim(), before >> 20, allocator["_resident"]() >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has these settings")
def test_what_is_free_between_blocks_goes_back() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", GAPS, allocator.__file__]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=True)
    arranged, first, second, before, after = done.stdout.split()
    if arranged == "False":
        pytest.skip("this C library has no such settings")
    assert (first, second) == ("True", "False")  # trimmed once, and not again until it has grown
    assert int(after) < int(before) - 200
