import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from seqmend.errors import InputError
from seqmend.menders.denoise import DenoiseConfig, StudentConfig
from seqmend.study.student import bench_student, bench_student_by_name, shares_of_gain

TEACHER = DenoiseConfig(tuning_windows=50, language_windows=5)
STUDENT = StudentConfig(embedding_size=16, n_heads=2, epochs=4, batch_size=32, learning_rate=1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus laid out like llm4dsr-toy: four kinds of items, users within one kind, 10 % noise in the windows."""
    root = tmp_path_factory.mktemp("toy")
    splits = root / "official_splits" / "noise_user0.1"
    splits.mkdir(parents=True)
    rng = np.random.default_rng(0)
    windows = []
    for user in range(200):
        items = rng.integers(0, 12, 14) + 12 * (user % 4) + 1
        for end in (11, 12, 14):
            mask = (rng.random(11) < 0.1) & (np.arange(11) < 10)
            noisy = np.where(mask, rng.integers(1, 49, 11), items[end - 11 : end])
            windows.append((str(user), noisy.tolist(), mask.astype(int).tolist(), end))
    frame = pl.DataFrame(windows, schema=["user_id", "item_ids", "mask", "timestamp"], orient="row")
    frame.filter(pl.col("timestamp") < 14).write_parquet(splits / "train_5000.parquet")
    frame.filter(pl.col("timestamp") == 14).write_parquet(splits / "test.parquet")
    titles = [f"kind {(item - 1) // 12} thing {item}" for item in range(1, 49)]
    pl.DataFrame({"item_id": [str(item) for item in range(1, 49)], "title": titles}).write_parquet(
        root / "items.parquet"
    )
    return root


def test_teacher_and_students_are_compared_on_the_same_positions(folder, tiny):
    figures = bench_student(
        folder, "small", encoder=None, model=tiny, fresh=tiny,
        config=TEACHER, student=STUDENT, max_windows=60, timed_windows=3,
    )  # fmt: skip
    names = ("llm_free", "teacher", "student", "student_llm_free")
    assert {figures[name]["n"] for name in names} == {600}
    assert figures["student"]["auroc"] > 0.8
    for name in names[1:]:
        difference = figures[name]["auroc"] - figures["llm_free"]["auroc"]
        assert figures["gain"][name]["difference"] == pytest.approx(difference)
    assert set(figures["speed"]) == {*names[1:], "teacher_titles_kept", "fusion"}
    assert figures["ratio"] == pytest.approx(figures["speed"]["student"] / figures["speed"]["teacher"])


def test_the_share_of_the_gain_and_its_interval():
    rng = np.random.default_rng(0)
    truth, users = rng.random(4000) < 0.2, np.repeat(np.arange(400), 10)
    free, other = (truth + spread * rng.normal(size=4000) for spread in (2.0, 1.0))
    scores = {"llm_free": free, "teacher": other, "same": other, "none": free, "half": (free + other) / 2}
    shares = shares_of_gain(truth, scores, users, ["same", "none", "half"])
    assert shares["same"] == {"value": 1.0, "ci95": [1.0, 1.0]}
    assert shares["none"] == {"value": 0.0, "ci95": [0.0, 0.0]}
    auroc = {name: roc_auc_score(truth, score) for name, score in scores.items()}
    expected = (auroc["half"] - auroc["llm_free"]) / (auroc["teacher"] - auroc["llm_free"])
    low, high = shares["half"]["ci95"]
    assert shares["half"]["value"] == pytest.approx(expected)
    assert low < expected < high
    # Where the teacher gains nothing there is no share of it.
    backwards = {"llm_free": other, "teacher": free, "same": free}
    assert shares_of_gain(truth, backwards, users, ["same"])["same"]["value"] is None


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        bench_student_by_name(tmp_path / "x", "small", "smollm2-135m", tmp_path / "j", TEACHER, STUDENT, None, 1)
