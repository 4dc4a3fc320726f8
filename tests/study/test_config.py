import pytest
from pydantic import ValidationError

from seqmend.errors import InputError
from seqmend.study import RunConfig, demo_config


def test_a_configuration_survives_its_file(tmp_path):
    config = demo_config()
    config.write(tmp_path / "config.toml")
    assert RunConfig.read(tmp_path / "config.toml") == config


def test_no_model_is_not_the_default_model_when_read_again(tmp_path):
    config = RunConfig.from_dict({"data": {"corpus": "x"}, "language": {"model": None, "encoder": "none"}}, "test")
    assert (config.language.model, config.language.encoder) == (None, None)
    config.write(tmp_path / "config.toml")
    assert RunConfig.read(tmp_path / "config.toml") == config


@pytest.mark.parametrize("name", ["bert4rec", "birdrec", "ssdrec"])
def test_any_backbone_survives_its_file(tmp_path, name):
    config = RunConfig.from_dict({"data": {"corpus": "x"}, "backbone": {"name": name}}, "test")
    config.write(tmp_path / "config.toml")
    assert RunConfig.read(tmp_path / "config.toml") == config
    assert config.backbone.name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\ncorpus = 'x'\n[denoise]\ntreshold = 0.4\n", "did you mean threshold"),
        ("sedes = [1]\n[data]\ncorpus = 'x'\n", "did you mean seeds"),
        ("[data]\ncorpus = 'x'\n[noise]\nkind = 'loud'\n", "noise.kind does not fit"),
        ("[data]\ncorpus = 'x'\n[denoise]\nthreshold = 2\n", "denoise.threshold does not fit"),
        ("[data]\n", "either interactions"),
        ("[data]\ncorpus = 'x'\n[backbone]\nname = 'gru4rec'\ndropuot = 1\n", "did you mean dropout"),
        ("[data]\ncorpus = 'x'\n[backbone]\nname = 'birdrec'\nencoder = {name = 'sasrec', n_head = 1}\n", "n_heads"),
        ("[data]\ncorpus = 'x'\n[backbone]\nname = 'gru'\n", "backbone.name does not fit: Input should be one of 'sas"),
        ("seeds = []\n[data]\ncorpus = 'x'\n", "seeds does not fit"),
        ("seeds = [1]\n", "the setting data is missing"),
        ("seeds = [", "not TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        RunConfig.read(tmp_path / "c.toml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read the configuration"):
        RunConfig.read(tmp_path / "none.toml")


def test_paths_are_relative_to_the_configuration(tmp_path):
    (tmp_path / "c.toml").write_text("[data]\ninteractions = 'log.csv'\n")
    assert RunConfig.read(tmp_path / "c.toml").data.interactions == tmp_path / "log.csv"


def test_configurations_do_not_change():
    with pytest.raises(ValidationError):
        demo_config().seeds = (1,)  # type: ignore[misc]


def test_settings_that_do_not_go_together_blame_no_single_one():
    values = {"data": {"corpus": "movielens-100k"}, "language": {"model": "none"}, "denoise": {"method": "llm4dsr"}}
    with pytest.raises(InputError, match=r"the settings do not fit together: .*need a language model"):
        RunConfig.from_dict(values, "options")


def test_a_file_may_lack_what_is_named_elsewhere(tmp_path):
    (tmp_path / "c.toml").write_text("seeds = [4]")
    with pytest.raises(InputError, match="data"):
        RunConfig.read(tmp_path / "c.toml")
    found = RunConfig.read(tmp_path / "c.toml", data={"corpus": "movielens-100k"})
    assert (found.seeds, found.data.corpus) == ((4,), "movielens-100k")
    (tmp_path / "c.toml").write_text('data = {interactions = "log.csv", items = "items.csv"}')
    assert RunConfig.read(tmp_path / "c.toml", data={"corpus": "movielens-100k"}).data.corpus is None
