"""A language model small enough to test with: random weights, a byte-level vocabulary learned from a few sentences."""

from pathlib import Path

import pytest
import torch

from seqmend.llm import LocalModel

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
