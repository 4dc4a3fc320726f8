"""A trained backbone as a folder: weights in safetensors, configuration and catalogue beside them."""

from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from seqmend.errors import InputError
from seqmend.files import write_atomic
from seqmend.interactions import Sequences
from seqmend.recommenders.backbone import Backbone
from seqmend.recommenders.registry import BackboneConfig, make_backbone

_MODEL, _WEIGHTS, _ITEMS, _USERS = "model.json", "model.safetensors", "items.parquet", "users.parquet"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: int = Field(default=1, alias="schema")
    backbone: BackboneConfig
    n_items: int
    n_users: int


def save_backbone(folder: Path, model: Backbone, config: BackboneConfig, sequences: Sequences) -> None:
    """Write a trained backbone; the folder is made.

    Args:
        folder: Where to.
        model: Its weights.
        config: What it was made from.
        sequences: Whose items, and users if the model has vectors for them, are its numbers.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomic(folder / _WEIGHTS) as temporary:
        save_file(weights, temporary)
    with write_atomic(folder / _ITEMS) as temporary:
        pl.DataFrame({"item_id": sequences.catalogue.item_ids}).write_parquet(temporary)
    if model.n_users:
        with write_atomic(folder / _USERS) as temporary:
            pl.DataFrame({"user_id": sequences.user_ids}).write_parquet(temporary)
    told = _Model(schema=1, backbone=config, n_items=model.n_items, n_users=model.n_users)
    with write_atomic(folder / _MODEL) as temporary:
        temporary.write_text(told.model_dump_json(by_alias=True, indent=1), encoding="utf-8")


def load_backbone(folder: Path, sequences: Sequences) -> tuple[Backbone, BackboneConfig]:
    """Read a backbone that `save_backbone` wrote, in evaluation mode, for a log of the same catalogue.

    Returns:
        The backbone, and what it was made from.

    Raises:
        InputError: No such model, weights of another architecture, or another catalogue or, where the model has vectors
            for users, other users.
    """
    try:
        told = _Model.model_validate_json((folder / _MODEL).read_text(encoding="utf-8"))
        weights = load_file(folder / _WEIGHTS)
        items = pl.read_parquet(folder / _ITEMS)["item_id"]
        users = pl.read_parquet(folder / _USERS)["user_id"] if told.n_users else None
    except (OSError, pl.exceptions.PolarsError, SafetensorError, ValidationError) as error:
        raise InputError(
            "this is not a trained backbone", where=str(folder), expected="a folder that seqmend train wrote"
        ) from error
    _refuse_other("items", items, sequences.catalogue.item_ids, folder)
    if users is not None:
        _refuse_other("users", users, sequences.user_ids, folder)
    model = make_backbone(told.backbone, told.n_items, told.n_users)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the weights are not those of a {told.backbone.name}", where=str(folder / _WEIGHTS)
        ) from error
    return model.eval(), told.backbone


def _refuse_other(what: str, known: pl.Series, given: pl.Series, folder: Path) -> None:
    if known.equals(given):
        return
    new = given.filter(~given.is_in(known.implode())).head(3).to_list()
    raise InputError(
        f"the model knows other {what} than this log has",
        where=str(folder),
        expected=f"its {len(known):,} {what}" + (f", not {', '.join(map(repr, new))}" if new else ""),
        fix="give the log and the item file that it was trained with, or train again",
    )
