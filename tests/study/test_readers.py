from pathlib import Path

import pytest

from seqmend.errors import InputError
from seqmend.llm import LocalModel, ServerModel
from seqmend.study import LanguageConfig, RunConfig
from seqmend.study.readers import load_readers

SERVED = {"model": "server:org/m", "encoder": None, "server": {"base_url": "http://localhost:1/v1", "concurrency": 2}}


class Served:
    """Stands for a connected server: answers by a model in this process, as far as the server is said to."""

    def __init__(self, model: LocalModel, lacking: str) -> None:
        self.identity, self.capability, self.usage = "server", model.capability, model.usage
        self.lacking = lacking

    def require(self, *methods: str) -> None:
        if self.lacking in methods:
            raise InputError(f"cannot {self.lacking}")


def silent(*_) -> None:
    pass


@pytest.mark.parametrize("lacking", ["score", "embed", ""])
def test_a_served_model_must_do_what_judging_needs(tiny, tmp_path: Path, monkeypatch, lacking: str) -> None:
    asked = []
    monkeypatch.setattr(ServerModel, "connect", lambda *given: asked.append(given) or Served(tiny, lacking))
    language = LanguageConfig.model_validate(SERVED)
    if lacking:
        with pytest.raises(InputError, match=f"cannot {lacking}"):
            load_readers(language, tmp_path / "j.sqlite", silent)
        assert not (tmp_path / "j.sqlite").exists()
    else:
        readers = load_readers(language, tmp_path / "j.sqlite", silent)
        assert readers.model is not None
        assert readers.model.identity == "server"
    assert asked == [("org/m", language.server)]


def test_the_servers_settings_survive_the_file(make_config, log_files, tmp_path: Path) -> None:
    config = make_config(*log_files, language=SERVED)
    config.write(tmp_path / "config.toml")
    assert RunConfig.read(tmp_path / "config.toml").language == config.language
    assert config.language.served_model == "org/m"
    assert LanguageConfig(model="org/m").served_model is None


def test_what_a_served_model_cannot_do_is_refused(make_config, log_files) -> None:
    with pytest.raises(InputError, match="language model in this process"):
        make_config(*log_files, language=SERVED, denoise={"llm4dsr": {"tuning": {"enabled": True}}})
    with pytest.raises(InputError, match=r"language\.server\.base_url"):
        make_config(*log_files, language={"server": {"base_url": "localhost:8000"}})
