"""Trains and scores RePlay's SASRec; run by `adapter.py` with a Python that has RePlay."""

from __future__ import annotations

import importlib.metadata
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import job_io
import numpy as np


def train_and_score(job: dict[str, Any]) -> None:
    """Train on the last window of every user with RePlay's own loader and loop; then score the histories."""
    import lightning
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
    from replay.nn.lightning import LightningModule
    from replay.nn.lightning.optimizer import OptimizerFactory
    from replay.nn.sequential import SasRec
    from replay.nn.transform.template import make_default_sasrec_transforms

    class Watch(lightning.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            clock.start()

        def on_train_epoch_end(self, *_: Any) -> None:
            clock.stop()

    def read(path: str) -> dict[str, list[int]]:
        table = pq.read_table(path, columns=["query_id", "item_id"]).to_pydict()
        return job_io.known_items(zip(table["query_id"], table["item_id"]), number_of)

    version = importlib.metadata.version("replay-rec")
    if job["model"] != "SASRec":
        job_io.refuse(f"this adapter knows one model of RePlay {version}: SASRec, not {job['model']}")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if job["n_threads"]:
        torch.set_num_threads(job["n_threads"])
    lightning.seed_everything(job["seed"], verbose=False)
    n_items, length = len(job["item_ids"]), job["max_length"]
    number_of = {item: number for number, item in enumerate(job["item_ids"])}
    rows = [items[-length - 1 :] for items in read(job["train"]["interactions"]).values() if len(items) > 1]
    encoded = Path(job["train"]["interactions"]).with_name("encoded.parquet")
    pq.write_table(pa.table({"item_id": pa.array(rows, type=pa.list_(pa.int64()))}), encoded)

    schema = TensorSchema(
        [
            TensorFeatureInfo(
                "item_id",
                feature_type=FeatureType.CATEGORICAL,
                is_seq=True,
                feature_hint=FeatureHint.ITEM_ID,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
                cardinality=n_items,
                embedding_dim=job["embedding_size"],
                padding_value=n_items,
            )
        ]
    )
    model = SasRec.from_params(
        schema,
        embedding_dim=job["embedding_size"],
        num_heads=job["n_heads"],
        num_blocks=job["n_layers"],
        max_sequence_length=length,
        dropout=job["dropout"],
    )
    data = ParquetModule(
        batch_size=job["batch_size"],
        metadata={"train": {"item_id": {"shape": length + 1, "padding": n_items}}},
        transforms={"train": make_default_sasrec_transforms(schema)["train"]},
        train_path=str(encoded),
    )
    clock = job_io.EpochClock()
    lightning.Trainer(
        max_epochs=job["epochs"],
        accelerator="cpu",
        devices=1,
        callbacks=[Watch()],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(LightningModule(model, OptimizerFactory(learning_rate=job["learning_rate"])), data)

    histories = read(job["histories"]["interactions"])
    scores = job_io.ScoreFile(job, job["item_ids"])
    begin = time.perf_counter()
    model.eval()
    with torch.no_grad():
        for ids, items in job_io.together(histories):
            padded = np.full((len(ids), length), n_items, dtype=np.int64)
            for row, history in zip(padded, items):
                row[-len(history[-length:]) :] = history[-length:]
            numbers = torch.from_numpy(padded)
            logits = model({"item_id": numbers}, numbers != n_items)["logits"]
            scores.put(ids, logits[:, :n_items].numpy())
    seconds = time.perf_counter() - begin
    scores.close()
    job_io.write_result(job, version, len(rows), clock, seconds)


if __name__ == "__main__":
    job_io.run(train_and_score)
