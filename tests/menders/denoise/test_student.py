import json

import numpy as np
import polars as pl
import pytest
import torch
from safetensors import safe_open
from sklearn.metrics import roc_auc_score

from seqmend.errors import InputError
from seqmend.interactions import Catalogue, Sequences
from seqmend.menders.denoise import DenoiseConfig, Denoiser, Student, StudentConfig
from seqmend.menders.denoise.network import WindowNetwork

CONFIG = StudentConfig(embedding_size=16, n_heads=2, epochs=4, batch_size=32, learning_rate=1e-2)


@pytest.fixture(scope="module")
def mender(spoiled, encoder):
    return Denoiser(DenoiseConfig(tuning_windows=50), encoder).fit(spoiled[0])


@pytest.fixture(scope="module")
def student(mender, spoiled):
    return Student.fit(mender, spoiled[0], CONFIG)


def network(ids: bool = False, n_layers: int = 1) -> WindowNetwork:
    torch.manual_seed(0)
    made = WindowNetwork(
        n_items=30, n_inputs=5, n_relations=3, max_length=8,
        embedding_size=16, n_layers=n_layers, n_heads=2, dropout=0.1, ids=ids,
    )  # fmt: skip
    torch.nn.init.normal_(made.logit.weight)  # fresh weights say the same of every cell
    return made.eval()


def batch(n_windows: int = 6, length: int = 8):
    generator = torch.Generator().manual_seed(1)
    items = torch.randint(1, 31, (n_windows, length), generator=generator)
    inputs = torch.randn(n_windows, length, 5, generator=generator)
    half = torch.randn(n_windows, length, length, 3, generator=generator)
    return items, inputs, half + half.transpose(1, 2)


@pytest.mark.parametrize("ids", [False, True])
def test_a_tiny_batch_is_learned_by_heart(ids):
    items, inputs, relations = batch()
    truth = (torch.rand(items.shape, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    learner = network(ids).train()
    learner.dropout = 0.0
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    for _ in range(200):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(learner(items, inputs, relations), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@pytest.mark.parametrize("n_layers", [0, 2])
def test_padding_changes_nothing(n_layers):
    items, inputs, relations = batch(length=5)
    judge = network(ids=True, n_layers=n_layers)
    padded, described, related = torch.zeros(6, 8, dtype=torch.long), torch.randn(6, 8, 5), torch.randn(6, 8, 8, 3)
    padded[:, 3:], described[:, 3:], related[:, 3:, 3:] = items, inputs, relations
    other = related.clone()
    other[:, :3], other[:, :, :3] = 9.0, 9.0
    with torch.inference_mode():
        once = judge(padded, described, related)[:, 3:]
        described[:, :3] = 9.0
        again = judge(padded, described, other)[:, 3:]
    torch.testing.assert_close(once, again)
    assert once.std() > 0.01


def test_turning_a_window_round_turns_the_verdicts_round():
    items, inputs, relations = batch()
    judge = network()
    with torch.inference_mode():
        there = judge(items, inputs, relations)
        back = judge(items.flip(1), inputs.flip(1), relations.flip(1, 2))
    torch.testing.assert_close(there, back.flip(1))


def test_every_cell_looks_both_ways():
    items, inputs, relations = batch()
    inputs.requires_grad_()
    judge = network()
    for cell in (0, 3, 7):
        (gradient,) = torch.autograd.grad(judge(items, inputs, relations)[0, cell], inputs)
        assert (gradient[0].abs().sum(1) > 0).all()
        assert (gradient[1:] == 0).all()


def test_known_noise_is_found_and_confidence_is_calibrated(student, spoiled):
    noisy, is_noise = spoiled
    confidence = student.judge(noisy)
    assert confidence.dtype == np.float64
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert roc_auc_score(is_noise, confidence) > 0.95
    assert confidence.mean() == pytest.approx(is_noise.mean(), abs=0.06)


def test_new_users_are_judged_by_all_networks(student, spoiled):
    noisy, is_noise = spoiled
    strangers = pl.Series("user_id", [f"new {user}" for user in range(len(noisy))])
    confidence = student.judge(noisy, owners=strangers)
    assert roc_auc_score(is_noise, confidence) > 0.95
    assert (confidence != student.judge(noisy)).any()
    np.testing.assert_array_equal(student.judge(noisy, owners=noisy.user_ids), student.judge(noisy))


def test_nobody_is_judged_by_what_was_learned_from_him(student, spoiled):
    """Broken networks of the other groups change nothing for a group's users."""
    noisy, _ = spoiled
    before = student.judge(noisy)
    folds = student._folds_of(noisy.user_ids)
    kept = {name: value.clone() for name, value in student.networks.networks[0].state_dict().items()}
    with torch.no_grad():
        student.networks.networks[0].logit.bias += 5
    after = student.judge(noisy)
    student.networks.networks[0].load_state_dict(kept)
    changed = np.unique(folds[noisy.users[before != after]] % CONFIG.n_networks)
    assert changed.tolist() == [0]


def test_the_same_seed_gives_the_same_verdicts(student, mender, spoiled):
    again = Student.fit(mender, spoiled[0], CONFIG)
    np.testing.assert_array_equal(again.judge(spoiled[0]), student.judge(spoiled[0]))
    other = Student.fit(mender, spoiled[0], CONFIG.model_copy(update={"seed": 1}))
    assert (other.judge(spoiled[0]) != student.judge(spoiled[0])).any()


def test_global_randomness_is_left_alone(mender, spoiled):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Student.fit(mender, spoiled[0], CONFIG.model_copy(update={"epochs": 1}))
    assert torch.equal(torch.rand(3), expected)


def test_what_was_saved_judges_alike(student, spoiled, tmp_path):
    noisy, _ = spoiled
    student.save(tmp_path / "student")
    assert {path.suffix for path in (tmp_path / "student").iterdir()} == {".json", ".safetensors"}
    loaded = Student.load(tmp_path / "student", noisy.catalogue)
    np.testing.assert_array_equal(loaded.judge(noisy), student.judge(noisy))
    strangers = pl.Series("user_id", [f"new {user}" for user in range(len(noisy))])
    np.testing.assert_array_equal(loaded.judge(noisy, strangers), student.judge(noisy, strangers))


def test_another_catalogue_is_refused(student, spoiled, tmp_path):
    noisy, _ = spoiled
    ids = noisy.catalogue.item_ids.to_list()[1:]
    other = Catalogue.from_titles(dict.fromkeys(ids[::-1]))
    student.save(tmp_path)
    with pytest.raises(InputError, match="another catalogue"):
        Student.load(tmp_path, other)
    with pytest.raises(InputError, match="another catalogue"):
        student.judge(Sequences(noisy.user_ids, noisy.offsets, noisy.items, noisy.timestamps, other))


def test_what_is_no_student_is_refused(student, spoiled, tmp_path):
    catalogue = spoiled[0].catalogue
    with pytest.raises(InputError, match="not a student"):
        Student.load(tmp_path / "nowhere", catalogue)
    student.save(tmp_path)
    weights = tmp_path / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="not a student"):
        Student.load(tmp_path, catalogue)


def test_histories_of_one_item_and_of_none(student, spoiled):
    catalogue = spoiled[0].catalogue
    ids = catalogue.item_ids.to_list()[1:]
    titles = dict(zip(ids, catalogue.titles.to_list()[1:], strict=True))
    histories = {"ann": ids[:1], "bob": [], "eve": [ids[3], ids[3]]}
    confidence = student.judge(Sequences.from_lists(histories, titles))
    assert confidence.shape == (3,)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert student.judge(Sequences.from_lists({}, titles)).shape == (0,)


def test_language_vectors_are_left_out_on_request(spoiled, encoder, tiny, tmp_path):
    mender = Denoiser(DenoiseConfig(tuning_windows=50), encoder, tiny).fit(spoiled[0])
    quick = CONFIG.model_copy(update={"epochs": 1})
    without, with_it = (
        Student.fit(mender, spoiled[0], quick.model_copy(update={"language": language})) for language in (False, True)
    )
    assert with_it.networks.tables[0].n_relations == without.networks.tables[0].n_relations + 2
    with_it.save(tmp_path)
    with safe_open(tmp_path / "student.safetensors", "np") as file:
        assert "table.0.vectors.language" in file.keys()  # noqa: SIM118
    loaded = Student.load(tmp_path, spoiled[0].catalogue)
    np.testing.assert_array_equal(loaded.judge(spoiled[0]), with_it.judge(spoiled[0]))
    assert json.loads((tmp_path / "student.json").read_text())["config"]["language"]


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="multiple"):
        StudentConfig(embedding_size=10, n_heads=4)
