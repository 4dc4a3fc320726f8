from pathlib import Path

import numpy as np
import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions.times import is_in_range, reread, to_seconds, unit_of

LOG = Path("log.csv")


UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("year_in_seconds", [315_532_800, 1_700_000_000, 4_000_000_000])
def test_the_unit_is_that_of_most_times(unit, year_in_seconds):
    per_second = UNITS[unit]
    ticks = np.array([year_in_seconds * per_second + n for n in range(5)] + [-1, 3])
    assert unit_of(ticks, LOG, "t") == unit
    seconds = to_seconds(ticks[:5], unit)
    assert (seconds.astype(np.int64) == year_in_seconds).sum() >= 1
    assert is_in_range(ticks[:5], unit).all()


@pytest.mark.parametrize("ticks", [[-5, -1], [8 * 10**18], [1e30]])
def test_times_out_of_any_range_are_refused(ticks):
    with pytest.raises(InputError, match="out of any range"):
        unit_of(np.array(ticks), LOG, "t")


def test_a_time_of_another_unit_is_out_of_range():
    mixed = np.array([1_700_000_000_000, 1_700_000_000, 0, -1])
    assert is_in_range(mixed, "milliseconds").tolist() == [True, False, False, False]
    assert is_in_range(mixed, "seconds").tolist() == [False, True, True, False]


def test_whole_seconds_are_whole_numbers_and_parts_are_kept():
    assert to_seconds(np.array([1000, 2000]), "milliseconds").dtype == np.int64
    assert to_seconds(np.array([1.0, 2.0]), "seconds").dtype == np.int64
    assert to_seconds(np.array([1000, 2500]), "milliseconds").tolist() == [1.0, 2.5]
    assert to_seconds(np.array([1.25]), "seconds").tolist() == [1.25]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2024-05-31T18:30:00",
            "2024-05-31 18:30:00",
            "2024-05-31 18:30",
            "2024-05-31T18:30",
            " 2024-05-31 18:30:00 ",
        ),
        *("2024-05-31T18:30:00Z", "2024-05-31 18:30:00.000Z", "2024-05-31 18:30:00 UTC", "2024-05-31T20:30:00+02:00"),
        *("2024-05-31T20:30:00+0200", "2024-05-31 13:30:00.000-05:00"),
    ],
)
def test_one_moment_in_many_forms(text):
    assert reread(pl.Series([text]), is_moment=True).to_list() == [1_717_180_200_000_000]


def test_what_is_no_time_stays_unread():
    assert reread(pl.Series(["2024-02-30", "soon", "", "31/05/2024", "2024"]), is_moment=True).null_count() == 5
    assert reread(pl.Series([" 5 ", "1e3", "nan", "inf", "x", ""]), is_moment=False).to_list() == [
        *(5.0, 1000.0, None, None, None, None)
    ]
