"""Trains and scores a sequential model of RecBole; run by `adapter.py` with a Python that has RecBole."""

from __future__ import annotations

import csv
import importlib.util
import logging
import time
from pathlib import Path
from typing import Any

import job_io
import numpy as np


def train_and_score(job: dict[str, Any]) -> None:
    """Train on all prefixes of all training sequences, one row each, as RecBole does; then score the histories."""
    import recbole
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset
    from recbole.data.interaction import Interaction
    from recbole.data.utils import get_dataloader
    from recbole.utils import get_model, get_trainer, init_seed

    logging.disable(logging.CRITICAL)
    if job["n_threads"]:
        torch.set_num_threads(job["n_threads"])
    if not importlib.util.find_spec(f"recbole.model.sequential_recommender.{job['model'].lower()}"):
        job_io.refuse(f"RecBole {recbole.__version__} has no sequential model {job['model']}")
    folder = Path(job["train"]["interactions"]).parent
    config = Config(model=job["model"], dataset=folder.name, config_dict=_settings(job, str(folder.parent)))
    init_seed(job["seed"], reproducibility=True)
    dataset = create_dataset(config)
    train = dataset.build()[0]
    loader = get_dataloader(config, "train")(config, train, None, shuffle=True)
    model = get_model(job["model"])(config, train).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], job["model"])(config, model)
    clock = job_io.EpochClock()
    for epoch in range(job["epochs"]):
        clock.start()
        trainer._train_epoch(loader, epoch)
        clock.stop()

    tokens = [str(token) for token in dataset.field2id_token["item_id"]]
    number_of = {token: number for number, token in enumerate(tokens) if number}
    with Path(job["histories"]["interactions"]).open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(lines)
        histories = job_io.known_items(((line[0], line[1]) for line in lines), number_of)
    scores = job_io.ScoreFile(job, tokens)
    begin = time.perf_counter()
    model.eval()
    with torch.no_grad():
        for ids, items in job_io.together(histories):
            shown = [history[-job["max_length"] :] for history in items]
            padded = np.zeros((len(shown), job["max_length"]), dtype=np.int64)
            for row, history in zip(padded, shown):
                row[: len(history)] = history
            batch = Interaction(
                {
                    "user_id": torch.zeros(len(ids), dtype=torch.long),
                    "item_id_list": torch.from_numpy(padded),
                    "item_length": torch.tensor([len(history) for history in shown]),
                }
            )
            scores.put(ids, model.full_sort_predict(batch).view(len(ids), -1)[:, : len(tokens)].numpy())
    seconds = time.perf_counter() - begin
    scores.close()
    job_io.write_result(job, recbole.__version__, len(train), clock, seconds)


def _settings(job: dict[str, Any], folder: str) -> dict[str, Any]:
    """RecBole's names; every model takes those that it knows.

    Order is taken from the position: RecBole's float32 times would mix up interactions two minutes apart.
    """
    size, layers, dropout = job["embedding_size"], job["n_layers"], job["dropout"]
    return {
        "data_path": folder,
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "position",
        "ITEM_LIST_LENGTH_FIELD": "item_length",
        "LIST_SUFFIX": "_list",
        "load_col": {"inter": ["user_id", "item_id", "position"], "item": ["item_id"]},
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "TO", "mode": "full", "group_by": None},
        "MAX_ITEM_LIST_LENGTH": job["max_length"],
        "hidden_size": size,
        "embedding_size": size,
        "inner_size": size,
        "n_layers": layers,
        "num_layers": layers,
        "n_heads": job["n_heads"],
        "hidden_act": "relu",
        "hidden_dropout_prob": dropout,
        "attn_dropout_prob": dropout,
        "dropout_prob": dropout,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": job["batch_size"],
        "learner": "adam",
        "learning_rate": job["learning_rate"],
        "seed": job["seed"],
        "reproducibility": True,
        "use_gpu": False,
        "state": "CRITICAL",
        "show_progress": False,
    }


if __name__ == "__main__":
    job_io.run(train_and_score)
