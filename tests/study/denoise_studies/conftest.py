"""A small log whose users stay within one kind of item, spoiled and judged once."""

import pytest

from seqmend.progress import silent
from seqmend.study.denoise_studies.setting import Setting, make_case
from seqmend.study.readers import Readers


@pytest.fixture(scope="session")
def setting(log_files, make_config) -> Setting:
    config = make_config(*log_files, training={"epochs": 2, "patience": 2}, denoise={"corruption_rounds": 6})
    return Setting.read(config, silent)


@pytest.fixture(scope="session")
def case(setting):
    return make_case(setting, ("uniform", 0.1), 0, Readers(None, None), silent, test=True, threshold=0.3)


@pytest.fixture(scope="session")
def inserted(setting):
    return make_case(setting, ("insertion", 0.1), 0, Readers(None, None), silent, test=True, threshold=0.3)
