"""Which device and number format this machine computes fastest with."""

import time
from functools import cache

import torch

from seqmend.errors import InputError

_ROWS, _INNER, _COLUMNS = 256, 256, 1024
_REPEATS = 20
_CLEARLY_FASTER = 2.0


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

    GPUs say so themselves. CPUs are measured, once per process and in some milliseconds: their feature flags do not
    tell (with the same AVX-512 instructions bfloat16 is four times as fast on one processor and slower on another).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _cpu_multiplies_bfloat16_faster()


@cache
def _cpu_multiplies_bfloat16_faster() -> bool:
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
