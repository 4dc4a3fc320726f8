"""The embedded models themselves, fetched once."""

import numpy as np
import pytest

from seqmend import assets
from seqmend.llm import LocalModel, Passage, Question, SentenceEncoder

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def smollm() -> LocalModel:
    return LocalModel.load("smollm2-135m", device="cpu", dtype="float32")


def test_the_language_model_knows_capitals(smollm: LocalModel) -> None:
    countries = {"France": " Paris", "Germany": " Berlin", "Italy": " Rome"}
    questions = [Question(f"The capital of {country} is", tuple(countries.values())) for country in countries]
    for place, answer in enumerate(smollm.choose(questions)):
        assert answer.probabilities.argmax() == place
        assert answer.probabilities[place] > 0.9
    passages = [Passage(("The capital of France is", city), (False, True)) for city in countries.values()]
    scores = [score.log_probabilities[0] for score in smollm.score(passages)]
    np.testing.assert_allclose(scores, smollm.choose(questions[:1])[0].log_likelihoods, atol=1e-3)


def test_the_language_model_writes_to_the_end_of_a_chat_turn(smollm: LocalModel) -> None:
    message = smollm.chat("What is the capital of France? One word.")
    assert message.endswith("<|im_start|>assistant\n")
    assert "Paris" in smollm.write([message], max_new_tokens=20)[0]


def test_a_gguf_file_is_dequantised_once(smollm: LocalModel) -> None:
    folder = assets.resolve("smollm2-135m", "model")
    made = list(folder.glob("dequantised-*/model.safetensors"))
    assert len(made) == 1
    before = made[0].stat().st_mtime_ns
    assert LocalModel.load("smollm2-135m", device="cpu", dtype="float32").identity == smollm.identity
    assert made[0].stat().st_mtime_ns == before
    assert smollm.identity.startswith("smollm2-135m@")


def test_the_encoder_puts_like_titles_together() -> None:
    encoder = SentenceEncoder.load("minilm-l6", device="cpu")
    titles = ["Toy Story", "Toy Story 2", "The Silence of the Lambs", "Toy Story"]
    vectors = encoder.embed(titles)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alike = vectors @ vectors.T
    assert alike[0, 1] > alike[0, 2] + 0.3
    assert alike[0, 3] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(encoder.embed(titles[::-1])[::-1], vectors, atol=1e-5)
    assert encoder.embed([]).shape == (0, 384)
