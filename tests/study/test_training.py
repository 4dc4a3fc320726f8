import dataclasses
import json
import time

import pytest
from safetensors.torch import load_file, save_file

from seqmend.errors import InputError, SeqMendError
from seqmend.recommenders import CaserConfig, load_backbone
from seqmend.study import evaluate_backbone, read_data, train_backbone
from seqmend.study.parallel import default_jobs, pool


@pytest.fixture(scope="module")
def config(log_files, make_config):
    return make_config(
        *log_files,
        noise=None,
        backbone={"name": "gru4rec", "embedding_size": 8, "hidden_size": 8, "max_length": 10},
        training={"epochs": 2, "device": "cpu", "precision": "float32"},
        seeds=(0, 1),
    )


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "gru4rec"
    return out, train_backbone(config, out, jobs=1)


def test_every_seed_has_a_model_and_metrics(trained):
    out, metrics = trained
    assert [(arm["backbone"], arm["seed"]) for arm in metrics["arms"]] == [("gru4rec", 0), ("gru4rec", 1)]
    assert metrics["arms"][0]["metrics"] != metrics["arms"][1]["metrics"]
    assert json.loads((out / "metrics.json").read_text()) == metrics
    for seed in (0, 1):
        assert (out / "models" / f"seed-{seed}" / "model.safetensors").exists()


def test_evaluation_of_the_saved_models_gives_what_training_measured(trained, config):
    out, metrics = trained
    for memory in (1 << 26, 1):
        assert evaluate_backbone(out, config, memory=memory)["arms"] == metrics["arms"]
    (one,) = evaluate_backbone(out / "models" / "seed-1", config)["arms"]
    assert one == metrics["arms"][1]
    valid = evaluate_backbone(out, config, part="valid")["arms"]
    assert valid[0]["metrics"] != metrics["arms"][0]["metrics"]


def test_sampled_negatives_are_labelled_and_apart(trained, config):
    out, metrics = trained
    (arm, _) = evaluate_backbone(out, config, negatives=5)["arms"]
    assert arm["metrics"] == metrics["arms"][0]["metrics"]
    assert arm["sampled"]["negatives"] == 5
    assert arm["sampled"]["hr@5"] >= arm["metrics"]["hr@5"]


def test_a_second_training_of_the_same_does_nothing(trained, config):
    out, metrics = trained
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert train_backbone(config, out, jobs=1) == metrics
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before


def test_processes_do_the_same_as_one(trained, config, tmp_path):
    _, metrics = trained
    told: list[str] = []
    assert train_backbone(config, tmp_path / "out", lambda what, done, total: told.append(what), jobs=2) == metrics


def test_models_of_another_catalogue_or_architecture_are_refused(trained, config, make_log, tmp_path):
    out, _ = trained
    folder = tmp_path / "other"
    folder.mkdir()
    (tmp_path / "log").mkdir()
    interactions, items = make_log(tmp_path / "log")
    text = interactions.read_text().replace("i00", "x00")
    interactions.write_text(text)
    titles = items.read_text().replace("i00", "x00")
    items.write_text(titles)
    data = config.data.model_copy(update={"interactions": interactions, "items": items})
    other = config.model_copy(update={"data": data})
    with pytest.raises(InputError, match="the model knows other items than this log has"):
        evaluate_backbone(out, other)

    for path in (out / "models" / "seed-0").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    weights.pop("gru.weight_ih_l0")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match="the weights are not those of a gru4rec"):
        evaluate_backbone(folder, config)
    with pytest.raises(InputError, match="not a trained backbone"):
        evaluate_backbone(tmp_path, config)


@pytest.mark.parametrize(
    "backbone",
    [
        {"name": "caser", "embedding_size": 8, "max_length": 4},
        {"name": "berd", "encoder": {"name": "sasrec", "embedding_size": 8, "max_length": 4}},
        {"name": "ssdrec", "embedding_size": 8, "max_length": 4},
    ],
    ids=lambda backbone: backbone["name"],
)
def test_models_with_users_and_graphs_know_them_again(log_files, make_config, tmp_path, backbone):
    config = make_config(
        *log_files,
        noise=None,
        backbone=backbone,
        training={"epochs": 1, "device": "cpu"},
        seeds=(0,),
    )
    metrics = train_backbone(config, tmp_path / "out", jobs=1)
    assert evaluate_backbone(tmp_path / "out", config)["arms"] == metrics["arms"]
    sequences = read_data(config.data).sequences
    model, _ = load_backbone(tmp_path / "out" / "models" / "seed-0", sequences)
    assert model.n_users == len(sequences)
    renamed = dataclasses.replace(sequences, user_ids="x" + sequences.user_ids)
    with pytest.raises(InputError, match="other users"):
        load_backbone(tmp_path / "out" / "models" / "seed-0", renamed)


def test_what_goes_wrong_in_a_process_is_told_here(config, tmp_path):
    change = {"backbone": CaserConfig(embedding_size=4), "form": "sequence"}
    with pytest.raises(InputError, match="Caser cannot learn from rows in sequence form") as caught:
        train_backbone(config.model_copy(update=change), tmp_path / "form", jobs=2)
    assert 'set form = "instance"' in str(caught.value)

    diverging = config.training.model_copy(update={"learning_rate": 1e30, "epochs": 5})
    with pytest.raises(SeqMendError, match=r"not a number\n  at: the batch of users u"):
        train_backbone(config.model_copy(update={"training": diverging}), tmp_path / "diverging", jobs=2)


class Waiting:
    def run(self, progress) -> None:
        progress("waiting", 1, 2)
        time.sleep(0.1)


def test_one_job_at_a_time_is_done_in_this_process():
    told: list[str] = []
    with pool(1, lambda what, done, total: told.append(what)) as workers:
        job = workers.submit(Waiting())
        assert told == []
        assert 0.1 <= job.seconds() < 3
    assert told == ["waiting"]


def test_little_work_is_done_here():
    assert default_jobs(1000) == 1
    assert default_jobs(10**9) >= 1
