"""Which device and number format this machine computes fastest with."""

import contextlib
import json
import platform
import time
from functools import cache
from pathlib import Path

import torch

from seqmend.errors import InputError, ResourceError
from seqmend.files import cache_folder, write_json

_ROWS, _INNER, _COLUMNS = 256, 256, 1024
_REPEATS = 20
_CLEARLY_FASTER = 2.0
_FOUND = "bfloat16-pays.json"


def choose_device(device: str = "auto") -> torch.device:
    """The device that a setting means here: `auto` is the first GPU if there is one, else the CPU.

    Raises:
        InputError: PyTorch knows no such device, or a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError:
        raise InputError(f"unknown device {device!r}", expected="auto, cpu, cuda, cuda:1, ...") from None
    if place.type == "cuda" and not has_gpu:
        raise InputError("no GPU that this PyTorch can use", where=f'device = "{device}"', fix='set device = "auto"')
    return place


def bfloat16_pays(device: torch.device) -> bool:
    """Whether matrix products are at least twice as fast in bfloat16 as in float32.

    GPUs say so themselves. CPUs are measured, once and in some milliseconds: their feature flags do not tell (with the
    same AVX-512 instructions bfloat16 is four times as fast on one processor and slower on another). What was found is
    kept in the cache folder: answers and adapters belong to a number format, and a machine that happens to be busy when
    a killed run goes on must not choose another.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _cpu_multiplies_bfloat16_faster()


def processor() -> str:
    """The CPU's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


@cache
def _cpu_multiplies_bfloat16_faster() -> bool:
    file, key = cache_folder() / _FOUND, f"{processor()}, torch {torch.__version__}"
    try:
        known = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    if not isinstance(known.get(key), bool):
        known[key] = _measured()
        with contextlib.suppress(OSError, ResourceError):  # then it is measured again next time
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, known)
    return known[key]


def _measured() -> bool:
    formats = (torch.float32, torch.bfloat16)
    pairs = [(torch.ones(_ROWS, _INNER, dtype=dtype), torch.ones(_INNER, _COLUMNS, dtype=dtype)) for dtype in formats]
    times: list[list[float]] = [[], []]
    with torch.inference_mode():
        for _ in range(_REPEATS):  # in turns, so that whatever else runs here slows both
            for pair, seconds in zip(pairs, times, strict=True):
                begin = time.perf_counter()
                torch.mm(*pair)
                seconds.append(time.perf_counter() - begin)
    float32, bfloat16 = map(min, times)
    return float32 > _CLEARLY_FASTER * bfloat16
