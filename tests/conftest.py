"""What every test shares: settings, a language model small enough to test with, a small log in files.

The model's weights are random, its byte-level vocabulary is learned from a few sentences.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import settings

from seqmend import cli
from seqmend.llm import LocalModel
from seqmend.study import RunConfig

# Deadlines measure the machine, not the code.
settings.register_profile("seqmend", deadline=None, max_examples=60)
settings.load_profile("seqmend")


@pytest.fixture
def seqmend(monkeypatch, capsys):
    """Exit code, standard output and standard error of a command in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["seqmend", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


SENTENCES = [
    "Munchkin Clerical Errors, a card game",
    "Melissa & Doug Construction Puzzle (24 pieces)",
    "The Lion King, 1994. Toy Story 2 and A Bug's Life",
    "Ann bought “Amélie”, Bob bought 七人の侍 and Ødipus\nno yes Answer: one of these titles does not belong",
]


def save_tiny_model(folder: Path, kind: str = "llama", context: int = 512) -> Path:
    """A model and its tokenizer in the transformers layout."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        SENTENCES * 3,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>", model_max_length=context
    )
    shape = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": context,
        "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "initializer_range": 0.3,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if kind == "llama":
            model = LlamaForCausalLM(LlamaConfig(**shape))
        else:  # one layer looks at the last few tokens only
            layers = ["sliding_attention", "full_attention"]
            model = Gemma3ForCausalLM(Gemma3TextConfig(**shape, sliding_window=8, layer_types=layers))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def sliding_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "sliding", kind="gemma3", context=64)


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return SENTENCES


@pytest.fixture
def tiny(tiny_folder: Path) -> LocalModel:
    return LocalModel.load(tiny_folder, device="cpu", dtype="float32", batch_tokens=120)


KINDS = ("wooden train", "card game", "plush bear", "science kit")


def write_log(folder: Path, n_users: int = 120, length: int = 14) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    ids = [[f"i{kind}{n:02}" for n in range(12)] for kind in range(4)]
    rows = [
        (f"u{user}", ids[user % 4][(start + step) % 12], 1_600_000_000 + 86_400 * step + user)
        for user in range(n_users)
        for start in [int(rng.integers(12))]
        for step in range(length)
    ]
    interactions, items = folder / "log.csv", folder / "items.csv"
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(interactions)
    titles = [(item, f"{KINDS[kind]} number {n}") for kind in range(4) for n, item in enumerate(ids[kind])]
    pl.DataFrame(titles, schema=["item_id", "title"], orient="row").write_csv(items)
    return interactions, items


def small_config(interactions: Path, items: Path, **changes) -> RunConfig:
    values = {
        "data": {"interactions": str(interactions), "items": str(items)},
        "noise": {"kind": "uniform", "ratio": 0.1},
        "language": {"model": None, "encoder": None},
        "denoise": {"networks": False, **changes.pop("denoise", {})},  # they take most of the time
        "correct": {"teacher": "none", **changes.pop("correct", {})},  # a tiny model learns nothing
        "backbone": {"embedding_size": 16, "n_layers": 1, "n_heads": 1, "max_length": 16},
        "training": {"epochs": 4, "patience": 2},
        "seeds": [0, 1],
    }
    return RunConfig.from_dict({**values, **changes}, "test")


@pytest.fixture(scope="session")
def log_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="session")
def make_log():
    return write_log


@pytest.fixture(scope="session")
def make_config():
    return small_config


@pytest.fixture(scope="session")
def served(tiny_folder: Path) -> Iterator[str]:
    """Address of a process that serves the tiny model: as /exact/v1 with echoes, as /label/v1 without."""
    script = Path(__file__).parent / "llm" / "model_server.py"
    process = subprocess.Popen([sys.executable, script, tiny_folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()
