"""Times training epochs of RecBole's SASRec; run by `training.py` with a Python that has RecBole, prints JSON.

    python recbole_epochs.py FOLDER EPOCHS THREADS  # recbole 1.2.1 needs numpy < 2

FOLDER holds `log/log.inter`.
"""

import json
import logging
import sys
import time

import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender.sasrec import SASRec
from recbole.trainer import Trainer


def epoch_seconds(folder: str, epochs: int) -> list[tuple[float, float]]:
    """Wall and processor seconds of every epoch, the first included."""
    settings = {
        "data_path": folder,
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "MAX_ITEM_LIST_LENGTH": 50,
        "hidden_size": 64,
        "inner_size": 64,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_act": "relu",
        "hidden_dropout_prob": 0.2,
        "attn_dropout_prob": 0.0,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "use_gpu": False,
        "state": "CRITICAL",
        "reproducibility": True,
        "show_progress": False,
    }
    arguments, sys.argv = sys.argv, sys.argv[:1]  # RecBole reads the command line
    config = Config(model="SASRec", dataset="log", config_dict=settings)
    sys.argv = arguments
    dataset = create_dataset(config)
    train_data, _, _ = data_preparation(config, dataset)
    trainer = Trainer(config, SASRec(config, train_data.dataset))
    seconds: list[tuple[float, float]] = []
    for epoch in range(epochs):
        wall, processor = time.perf_counter(), time.process_time()
        trainer._train_epoch(train_data, epoch)
        seconds.append((time.perf_counter() - wall, time.process_time() - processor))
    return seconds


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps({"version": recbole.__version__, "epochs": epoch_seconds(sys.argv[1], int(sys.argv[2]))}))
