import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seqmend.errors import InputError, ResourceError
from seqmend.llm import Adaptation, Judged, LocalModel, LoRAConfig, Passage, Question, adapt

EXAMPLES = [
    Passage(("Munchkin Clerical Errors ->", " a card game"), (False, True)),
    Passage(("The Lion King ->", " 1994", " or ", "Toy Story"), (False, True, False, True)),
    Passage(("Melissa & Doug ->", " Puzzle (24 pieces)"), (False, True)),
    Passage(("Ann ->", " no"), (False, True)),
    Passage(("Bob bought ->", " yes"), (False, True)),
    Passage(("nothing asked",), (False,)),
]
FAST = LoRAConfig(learning_rate=0.02, warmup_steps=2, epochs=12, batch_size=2, dropout=0.1, batch_tokens=40, seed=5)


def loss(model: LocalModel, passages: list[Passage]) -> float:
    scores = model.score(passages)
    return -sum(s.log_probabilities.sum() for s in scores) / sum(s.n_tokens.sum() for s in scores)


def weights(found: Adaptation) -> dict[str, torch.Tensor]:
    return load_file(found.folder / "adapter_model.safetensors")


def reloaded(tiny_folder: Path, found: Adaptation) -> LocalModel:
    return LocalModel.load(tiny_folder, device="cpu", dtype="float32", adapter=found.folder)


def test_a_few_examples_are_learned_by_heart(tiny: LocalModel, tiny_folder: Path, tmp_path: Path) -> None:
    before = loss(tiny, EXAMPLES)
    config = FAST.model_copy(update={"epochs": 150, "rank": 16, "dropout": 0.0})
    found = adapt(tiny, EXAMPLES, [], tmp_path / "adapter", config)
    assert (found.ended_by, found.steps, found.held_out_loss) == ("epochs", 450, None)
    assert loss(tiny, EXAMPLES) == before  # the model itself is as it was
    tuned = reloaded(tiny_folder, found)
    assert loss(tuned, EXAMPLES) < 0.2 * before
    assert tuned.identity != tiny.identity
    assert found.identity in tuned.identity
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "fit.json",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    settings = json.loads((found.folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == tiny.identity


def test_only_scored_parts_are_fitted(tiny: LocalModel, tmp_path: Path) -> None:
    """What stands after the last scored part, or scored tokens' weights in a larger batch, change nothing."""
    longer = [Passage((*p.parts, " and some more"), (*p.scored, False)) for p in EXAMPLES[:2]]
    short = weights(adapt(tiny, EXAMPLES[:2], [], tmp_path / "a", FAST))
    long = weights(adapt(tiny, longer, [], tmp_path / "b", FAST))
    for name, weight in short.items():
        assert torch.equal(weight, long[name])


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # PEFT to transformers
def test_the_gradient_is_that_of_the_mean_loss_per_scored_token(tiny: LocalModel, tmp_path: Path) -> None:
    """One step of plain size by hand: AdamW's first step moves every weight by the sign of its gradient."""
    config = FAST.model_copy(update={"epochs": 1, "batch_size": 9, "dropout": 0.0, "warmup_steps": 0})
    found = adapt(tiny, EXAMPLES, [], tmp_path / "small passes", config)
    at_once = adapt(tiny, EXAMPLES, [], tmp_path / "one pass", config.model_copy(update={"batch_tokens": 10_000}))
    import peft

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        settings = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        tuned = peft.get_peft_model(tiny.model, settings)
    total, count = torch.zeros(()), 0
    for passage in tiny.tokens.passages(EXAMPLES):
        logits = tuned(input_ids=torch.from_numpy(passage.tokens)[None]).logits[0].log_softmax(1)
        for place in np.flatnonzero(passage.owners >= 0):
            total, count = total - logits[place - 1, passage.tokens[place]], count + 1
    (total / count).backward()
    by_hand = {name: w for name, w in tuned.named_parameters() if w.requires_grad}
    assert len(by_hand) == len(weights(found)) == 8
    for name, weight in by_hand.items():
        saved = name.replace(".default", "")
        expected = weight.detach() - config.learning_rate * weight.grad / (weight.grad.abs() + 1e-8)
        clear = weight.grad.abs() > 1e-5
        torch.testing.assert_close(weights(found)[saved][clear], expected[clear], atol=2e-4, rtol=0)
        torch.testing.assert_close(weights(at_once)[saved][clear], expected[clear], atol=2e-4, rtol=0)
    tuned.unload()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("killed_at", [1, 7, 20])
def test_a_killed_fit_ends_like_one_that_was_not(tiny: LocalModel, tmp_path: Path, killed_at: int) -> None:
    config = FAST.model_copy(update={"evaluate_every": 4, "patience": 50, "checkpoint_seconds": 0})
    whole = adapt(tiny, EXAMPLES[:4], EXAMPLES[4:], tmp_path / "whole", config)

    def die(_: str, done: int, __: int) -> None:
        steps.append(done)
        if done == killed_at:
            raise Killed

    steps: list[int] = []
    with pytest.raises(Killed):
        adapt(tiny, EXAMPLES[:4], EXAMPLES[4:], tmp_path / "killed", config, die)
    assert not (tmp_path / "killed").exists()
    steps = []
    resumed = adapt(tiny, EXAMPLES[:4], EXAMPLES[4:], tmp_path / "killed", config, lambda _, n, __: steps.append(n))
    assert steps[0] == killed_at
    assert (resumed.identity, resumed.best_step, resumed.held_out_loss) == (
        whole.identity,
        whole.best_step,
        whole.held_out_loss,
    )
    for name, weight in weights(whole).items():
        assert torch.equal(weight, weights(resumed)[name])


def test_a_finished_adapter_is_not_fitted_again(tiny: LocalModel, tmp_path: Path) -> None:
    first = adapt(tiny, EXAMPLES, [], tmp_path / "adapter", FAST)
    steps: list[int] = []
    assert adapt(tiny, EXAMPLES, [], tmp_path / "adapter", FAST, lambda _, n, __: steps.append(n)) == first
    assert not steps
    other = adapt(tiny, EXAMPLES, [], tmp_path / "adapter", FAST.model_copy(update={"seed": 6}))
    assert other.identity != first.identity


def test_the_best_weights_are_kept_and_patience_ends_the_fit(
    tiny: LocalModel, tiny_folder: Path, tmp_path: Path
) -> None:
    held_out = [Passage(("The Lion King ->", " Melissa & Doug Construction"), (False, True))]
    config = FAST.model_copy(update={"epochs": 100, "evaluate_every": 1, "patience": 3})
    found = adapt(tiny, EXAMPLES, held_out, tmp_path / "adapter", config)
    assert found.ended_by == "patience"
    assert found.steps == found.best_step + 3
    assert found.held_out_loss == pytest.approx(loss(reloaded(tiny_folder, found), held_out), abs=1e-5)


def test_time_ends_the_fit(tiny: LocalModel, tmp_path: Path) -> None:
    config = FAST.model_copy(update={"max_seconds": 1e-6})
    found = adapt(tiny, EXAMPLES, [], tmp_path / "adapter", config)
    assert (found.steps, found.ended_by) == (1, "seconds")


def test_what_cannot_be_fitted_is_refused(tiny: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to fit"):
        adapt(tiny, EXAMPLES[-1:], [], tmp_path / "adapter")
    with pytest.raises(InputError, match="cannot be fitted"):
        adapt(tiny, EXAMPLES, [], tmp_path / "adapter", FAST.model_copy(update={"target_modules": ("no_such",)}))
    (tmp_path / "adapter.checkpoint.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ResourceError, match="checkpoint is damaged"):
        adapt(tiny, EXAMPLES, [], tmp_path / "adapter", FAST)


def test_an_adapter_of_another_model_is_refused(
    tiny: LocalModel, sliding_folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ResourceError, match="cannot load the adapter"):
        LocalModel.load(tiny_folder, adapter=tmp_path)
    found = adapt(tiny, EXAMPLES, [], tmp_path / "adapter", FAST.model_copy(update={"epochs": 1}))
    (found.folder / "adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(ResourceError, match="cannot load the adapter"):
        LocalModel.load(tiny_folder, adapter=found.folder)


def judged(prompt: str, goes: dict[str, bool]) -> Judged:
    return Judged(Question(prompt, tuple(f"\n{name}:" for name in goes), "in_place"), tuple(goes.values()))


JUDGED = [
    judged("The Lion King\nWhich?", {"Toy Story": True, "Melissa": False, "Ann": False}),
    judged("Melissa\nWhich?", {"Ann": True, "Toy Story": False}),
    judged("Ann\nWhich?", {"The Lion King": False, "Melissa": True, "Puzzle": True}),
]


def test_judgements_are_learned_by_heart(tiny: LocalModel, tiny_folder: Path, tmp_path: Path) -> None:
    config = FAST.model_copy(update={"epochs": 60, "rank": 16, "dropout": 0.0, "evaluate_every": 30})
    found = adapt(tiny, JUDGED, JUDGED, tmp_path / "adapter", config)
    answers = reloaded(tiny_folder, found).choose([one.question for one in JUDGED])
    said = np.concatenate([answer.probabilities for answer in answers])
    goes = np.array([g for one in JUDGED for g in one.goes])
    assert ((said > 0.5) == goes).all()
    # The held-out loss is that of every choice's yes against no.
    assert found.held_out_loss == pytest.approx(-np.log(np.where(goes, said, 1 - said)).mean(), rel=1e-3)
    with pytest.raises(ValueError, match="choice by choice"):
        Judged(JUDGED[0].question, (True,))


def test_frozen_blocks_are_read_once_and_change_nothing(
    tiny: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FAST.model_copy(update={"epochs": 3, "last_layers": 1})
    passes: list[int] = []
    block = tiny.scorer.decoder.layers[0]
    handle = block.register_forward_hook(lambda *_: passes.append(1))
    kept = adapt(tiny, JUDGED, JUDGED, tmp_path / "kept", config)
    n_passes = len(passes)
    monkeypatch.setattr("seqmend.llm.frozen._MOST_BYTES", 0)
    whole = adapt(tiny, JUDGED, JUDGED, tmp_path / "whole", config)
    handle.remove()
    assert n_passes < len(passes) - n_passes
    assert all(".layers.1." in name for name in weights(kept))
    for name, weight in weights(kept).items():
        torch.testing.assert_close(weight, weights(whole)[name], rtol=1e-3, atol=1e-5)
    assert len(tiny.scorer.decoder.layers) == 2
