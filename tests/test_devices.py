import json

import pytest
import torch

from seqmend import devices
from seqmend.devices import bfloat16_pays

CPU = torch.device("cpu")


@pytest.fixture
def found(monkeypatch, tmp_path):
    """What the machine is found to do, as a list that grows with every measurement; and the file it is kept in."""
    monkeypatch.setenv("SEQMEND_CACHE", str(tmp_path / "cache"))
    devices._cpu_multiplies_bfloat16_faster.cache_clear()
    measured = []

    def measure():
        measured.append(len(measured) % 2 == 0)
        return measured[-1]

    monkeypatch.setattr(devices, "_measured", measure)
    yield measured, tmp_path / "cache" / "bfloat16-pays.json"
    devices._cpu_multiplies_bfloat16_faster.cache_clear()


def another_process():
    devices._cpu_multiplies_bfloat16_faster.cache_clear()
    return bfloat16_pays(CPU)


def test_a_number_format_once_found_to_pay_stays(found):
    measured, file = found
    assert [another_process() for _ in range(3)] == [True] * 3
    assert len(measured) == 1
    (name,) = json.loads(file.read_text())
    assert torch.__version__ in name


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"other": true}'])
def test_what_was_kept_of_other_machines_or_cannot_be_read_does_not_count(found, damaged):
    measured, file = found
    file.parent.mkdir()
    file.write_text(damaged)
    assert another_process()
    assert another_process()
    assert len(measured) == 1
    assert ("other" in json.loads(file.read_text())) == ("other" in damaged)


def test_without_a_folder_to_write_to_it_is_measured_every_time(found, monkeypatch, tmp_path):
    measured, _ = found
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQMEND_CACHE", str(tmp_path / "file" / "cache"))
    assert [another_process() for _ in range(2)] == [True, False]
    assert len(measured) == 2
