"""Trains and scores a transformer of RecTools; run by `adapter.py` with a Python that has RecTools."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

import job_io


def train_and_score(job: dict[str, Any]) -> None:
    """Train on the last window of every user, as RecTools does; then score the histories."""
    import pandas as pd
    import rectools
    import torch
    from pytorch_lightning import Callback, Trainer, seed_everything
    from rectools import Columns, models
    from rectools.dataset import Dataset
    from rectools.models.nn.item_net import IdEmbeddingsItemNet

    class Watch(Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            clock.start()

        def on_train_epoch_end(self, *_: Any) -> None:
            clock.stop()

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=job["epochs"],
            min_epochs=job["epochs"],
            accelerator="cpu",
            devices=1,
            callbacks=[Watch()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    def read(path: str) -> pd.DataFrame:
        ids = {Columns.User: str, Columns.Item: str}
        frame = pd.read_csv(path, dtype=ids, keep_default_na=False)
        frame[Columns.Datetime] = pd.to_datetime(frame[Columns.Datetime], format="ISO8601")
        return frame

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    if job["n_threads"]:
        torch.set_num_threads(job["n_threads"])
    known = [name[: -len("Model")] for name in dir(models) if name in ("SASRecModel", "BERT4RecModel")]
    if job["model"] not in known:
        job_io.refuse(f"RecTools {rectools.__version__} has no model {job['model']}: take {' or '.join(known)}")
    seed_everything(job["seed"], verbose=False)
    clock = job_io.EpochClock()
    model = getattr(models, f"{job['model']}Model")(
        n_blocks=job["n_layers"],
        n_heads=job["n_heads"],
        n_factors=job["embedding_size"],
        dropout_rate=job["dropout"],
        session_max_len=job["max_length"],
        batch_size=job["batch_size"],
        lr=job["learning_rate"],
        loss="softmax",
        item_net_block_types=(IdEmbeddingsItemNet,),
        get_trainer_func=trainer,
    )
    model.fit(Dataset.construct(read(job["train"]["interactions"])))

    histories = Dataset.construct(read(job["histories"]["interactions"]))
    shown = model.data_preparator.transform_dataset_u2i(histories, histories.user_id_map.external_ids)
    # The loader sorts by user number, so row m of all batches together is user m.
    ids = [str(history) for history in shown.user_id_map.get_external_sorted_by_internal()]
    backbone = model.torch_model
    item_ids = [str(item) for item in shown.item_id_map.get_external_sorted_by_internal()]
    item_ids[: model.data_preparator.n_item_extra_tokens] = [""] * model.data_preparator.n_item_extra_tokens
    scores = job_io.ScoreFile(job, item_ids)
    begin, done = time.perf_counter(), 0
    backbone.eval()
    with torch.no_grad():
        table = backbone.item_model.get_all_embeddings()
        for batch in model.data_preparator.get_dataloader_recommend(shown, job_io.SCORED_TOGETHER):
            states = backbone.encode_sessions(batch, table)[:, -1]
            portion = ids[done : done + len(states)]
            scores.put(portion, backbone.similarity_module(states, table).numpy())
            done += len(portion)
    seconds = time.perf_counter() - begin
    scores.close()
    rows = len(model.data_preparator.train_dataset.user_id_map.external_ids)
    job_io.write_result(job, rectools.__version__, rows, clock, seconds)


if __name__ == "__main__":
    job_io.run(train_and_score)
