import asyncio
import logging
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from seqmend import assets
from seqmend.errors import InputError, ResourceError
from seqmend.llm import (
    Failure,
    Journal,
    JournaledModel,
    LocalModel,
    Passage,
    Question,
    ServerConfig,
    ServerModel,
)
from seqmend.llm.replies import ReadText

KEY = "sk-very-secret-123"


class Verdict(BaseModel):
    item: str
    sure: bool = True


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def connect(fault, waits, monkeypatch):
    """Connects to the fault server without ever waiting; the waits are written down instead."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    def connected(**settings) -> ServerModel:
        config = ServerConfig(base_url=fault.base_url, **settings)
        model = ServerModel.connect("m", config, sleep=sleep, rng=random.Random(1))
        fault.bodies.clear()
        return model

    return connected


def shown(error: BaseException) -> str:
    """Everything that a person or a log could see of an error."""
    seen, text = error, ""
    while seen is not None:
        text += f"{seen!r} {seen} {vars(seen)}"
        seen = seen.__cause__ or seen.__context__
    return text


# ------------------------------------------------------------------------------------------------ failures in passing


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(connect, fault, reply, chat, waits, status: int) -> None:
    model = connect()
    fault.answer = lambda _, n: reply({"error": {"message": "busy"}}, status) if n < 3 else reply(chat("at last"))
    assert model.write(["a"]) == ["at last"]
    assert len(fault.bodies) == 4
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0 <= waits[2] <= 2.0  # twice as long each time, and spread


def test_retry_after_is_honoured(connect, fault, reply, chat, waits) -> None:
    model = connect()
    after = ["7", formatdate(time.time() + 60, usegmt=True), "nonsense"]
    fault.answer = lambda _, n: reply({}, 429, {"Retry-After": after[n]}) if n < 3 else reply(chat("at last"))
    assert model.write(["a"]) == ["at last"]
    assert waits[0] == 7
    assert 30 < waits[1] <= 60
    assert waits[2] <= 2
    fault.answer = lambda *_: reply({}, 429, {"Retry-After": "3600"})
    with pytest.raises(ResourceError, match=r"wait of at most 120 seconds, not 3600"):
        model.write(["a"])
    assert len(waits) == 3  # neither waited that long nor came back before


def test_attempts_are_bounded_and_the_error_says_what_happened(connect, fault, reply, waits) -> None:
    model = connect(max_retries=2)
    fault.answer = lambda *_: reply({"error": {"message": "out of\nmemory"}}, 500)
    with pytest.raises(ResourceError, match=r"HTTP 500: .*out of memory") as failure:
        model.write(["a"])
    assert len(fault.bodies) == 3
    assert fault.base_url in str(failure.value)


@pytest.mark.parametrize("manner", ["reset", "cut"])
def test_a_broken_connection_is_made_again(connect, fault, reply, chat, waits, manner: str) -> None:
    model = connect()
    fault.answer = lambda _, n: reply(chat("at last"), manner=manner if n < 2 else "whole")
    assert model.write(["a"]) == ["at last"]
    assert len(waits) == 2


def test_bytes_that_come_too_slowly_are_not_waited_for(connect, fault, reply, chat, waits) -> None:
    model = connect(timeout=0.4, max_retries=1)
    fault.answer = lambda *_: reply(chat("x" * 1000), manner="drip")
    with pytest.raises(ResourceError, match=r"no whole answer within 0\.4 seconds"):
        model.write(["a"])
    assert len(waits) == 1


@pytest.mark.parametrize(
    "body", [b'{"choices": [{"mess', b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"index": 1}]}', b"\xff"]
)
def test_what_is_no_answer_is_asked_for_again(connect, fault, reply, chat, waits, body: bytes) -> None:
    model = connect()
    fault.answer = lambda _, n: reply(body if n == 0 else chat("at last"))
    assert model.write(["a"]) == ["at last"]
    assert len(waits) == 1


def test_an_unreachable_server_is_named(monkeypatch, waits) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with pytest.raises(ResourceError, match="the connection failed") as failure:
        ServerModel.connect("m", ServerConfig(base_url=url, max_retries=3), sleep=sleep)
    assert url in str(failure.value)
    assert len(waits) == 3


def test_a_server_that_dies_half_way_loses_nothing_that_was_kept(connect, fault, reply, chat, tmp_path: Path) -> None:
    model = connect(max_retries=0, concurrency=1)
    fault.answer = lambda body, n: reply(chat(body["messages"][0]["content"].upper()), manner="reset" * (n >= 4))
    prompts = [f"p{n}" for n in range(8)]
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(ResourceError):
            JournaledModel(model, journal, chunk=2).write(prompts)
        assert len(journal) == 4
        fault.answer = lambda body, _: reply(chat(body["messages"][0]["content"].upper()))
        fault.bodies.clear()
        assert JournaledModel(model, journal).write(prompts) == [p.upper() for p in prompts]
        assert len(fault.bodies) == 4


# ----------------------------------------------------------------------------------------------------- order, number


def test_answers_keep_the_order_of_the_questions(connect, fault, reply, chat) -> None:
    model = connect(concurrency=4)
    later = {f"p{n}": threading.Event() for n in range(5)}
    later["p4"].set()

    def answer(body, _):
        name = body["messages"][0]["content"]
        later[name].wait(30)
        if name != "p0":
            later[f"p{int(name[1]) - 1}"].set()  # the last asked is answered first
        return reply(chat(name.upper()))

    fault.answer = answer
    later["p3"].set()  # of four places, the last
    assert model.write([f"p{n}" for n in range(5)]) == ["P0", "P1", "P2", "P3", "P4"]


def test_no_more_requests_at_once_than_allowed(connect, fault, reply, chat) -> None:
    model = connect(concurrency=3)
    together = threading.Barrier(3)
    fault.most_busy = 0

    def answer(*_):
        together.wait(30)  # only three at once can pass
        return reply(chat("ok"))

    fault.answer = answer
    model.write([f"p{n}" for n in range(9)])
    assert fault.most_busy == 3


def test_choices_of_a_reply_are_taken_by_their_number(connect, fault, reply, chat, waits) -> None:
    model = connect()
    right, other = chat("right")["choices"][0], chat("other", index=1)["choices"][0]
    fault.answer = lambda *_: reply({"choices": [other, right, right]})
    assert model.write(["a"]) == ["right"]
    two = [{"choices": [right, {**other, "index": 0}]}, chat("at last")]
    fault.bodies.clear()
    fault.answer = lambda _, n: reply(two[n])  # which of two answers is meant cannot be known
    assert model.write(["a"]) == ["at last"]
    assert len(waits) == 1


# -------------------------------------------------------------------------------------------------------- key, limits


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_one_error_at_once_and_never_shown(
    connect, fault, reply, waits, caplog, tmp_path: Path, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    fault.answer = lambda *_: reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status)
    with pytest.raises(InputError, match="OPENAI_API_KEY") as failure:
        connect()
    assert waits == []
    assert len(fault.keys) == 1
    assert fault.keys[0] == f"Bearer {KEY}"  # it was sent, to be sure
    assert KEY not in shown(failure.value)
    assert KEY not in caplog.text


def test_the_key_is_in_nothing_that_can_be_seen(connect, fault, reply, chat, caplog, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    model = connect(max_retries=0)
    with Journal(tmp_path / "j.sqlite") as journal:
        JournaledModel(model, journal).write(["a"])
    for status in (400, 500):
        fault.answer = lambda *_, status=status: reply({"error": {"message": f"the header said {KEY}!"}}, status)
        with pytest.raises((InputError, ResourceError), match=r"said \[key\]") as failure:
            model.write(["a"])
        assert KEY not in str(failure.value)
    assert KEY not in f"{model!r} {model.identity} {model.endpoint!r} {model.endpoint.config!r}"
    assert KEY not in caplog.text
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.iterdir())


def test_a_named_but_absent_key_and_a_password_in_the_address_are_refused(monkeypatch) -> None:
    monkeypatch.delenv("OTHER_KEY", raising=False)
    with pytest.raises(InputError, match="OTHER_KEY"):
        ServerModel.connect("m", ServerConfig(key_env="OTHER_KEY"))
    with pytest.raises(ValidationError) as failure:
        ServerConfig(base_url="http://ann:pass@example.org/v1")
    assert "pass@" not in str(failure.value)


def test_a_spent_quota_and_a_refused_request_are_not_repeated(connect, fault, reply, waits) -> None:
    model = connect()
    fault.answer = lambda *_: reply({"error": {"message": "no money", "code": "insufficient_quota"}}, 429)
    with pytest.raises(InputError, match="no money"):
        model.write(["a"])
    fault.answer = lambda *_: reply({"error": {"message": "too long"}}, 400)
    with pytest.raises(InputError, match="too long"):
        model.write(["a", "b", "c"])
    assert waits == []


def test_usage_is_the_servers_own_or_estimated(connect, fault, reply, chat) -> None:
    model = connect()
    model.write(["a", "b"])
    assert (model.usage.calls, model.usage.prompt_tokens, model.usage.completion_tokens) == (2, 14, 6)
    fault.answer = lambda *_: reply({"choices": chat("12345678")["choices"]})
    model.write(["x" * 40])
    assert (model.usage.calls, model.usage.prompt_tokens, model.usage.completion_tokens) == (3, 24, 8)


def test_inside_a_running_loop_it_works_as_well(connect) -> None:
    model = connect()

    async def notebook() -> list[str]:
        return model.write(["a"])

    assert asyncio.run(notebook()) == ["ok"]


# ------------------------------------------------------------------------------------------------------------ objects


def test_an_object_is_asked_for_by_schema(connect, fault, reply, chat) -> None:
    model = connect()
    fault.answer = lambda *_: reply(chat('{"item": "bear"}'))
    assert model.write_objects(["which?"], Verdict) == [Verdict(item="bear")]
    form = fault.bodies[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"]["properties"].keys() == {"item", "sure"}


def test_where_the_server_has_no_schemas_the_prompt_has(connect, fault, reply, chat) -> None:
    def answer(body, _):
        if "response_format" in body:
            return reply({"error": {"message": "unknown field response_format"}}, 422)
        return reply(chat('Sure: {"item": "bear"}.'))

    model = connect()
    fault.answer = answer
    assert model.write_objects(["which?"], Verdict) == [Verdict(item="bear")]
    assert '"item"' in fault.bodies[-1]["messages"][0]["content"]
    model.write_objects(["which?"], Verdict)
    assert len(fault.bodies) == 3  # it is not tried again
    with pytest.raises(InputError, match="unknown field"):
        connect(structured="json_schema").write_objects(["which?"], Verdict)


def test_a_wrong_object_is_sent_back_with_what_is_wrong(connect, fault, reply, chat) -> None:
    model = connect()
    said = ['{"item": 5}', '{"item": "be', '{"item": "bear"}']
    fault.answer = lambda _, n: reply(chat(said[n]))
    assert model.write_objects(["which?"], Verdict) == [Verdict(item="bear")]
    turns = fault.bodies[1]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == '{"item": 5}'
    assert "valid string" in turns[2]["content"]


@pytest.mark.parametrize("said", ["I would rather not.", "", None, "{}", '{"item": null}'])
def test_what_cannot_be_repaired_is_a_failure_and_not_kept(
    connect, fault, reply, chat, tmp_path: Path, said: str | None
) -> None:
    model = connect(max_repairs=1)
    fault.answer = lambda *_: reply(chat(said))
    with Journal(tmp_path / "j.sqlite") as journal:
        (found,) = JournaledModel(model, journal).write_objects(["which?"], Verdict)
        assert len(journal) == 0
    assert isinstance(found, Failure)
    assert len(fault.bodies) == 2


# ------------------------------------------------------------------------------------------------------- capabilities


def test_a_server_that_only_writes_says_so(connect) -> None:
    model = connect()
    assert model.capability == "written"
    for ask in (
        lambda: model.choose([Question("a", ("b",))]),
        lambda: model.score([Passage(("a", "b"), (False, True))]),
        lambda: model.embed(["a"]),
    ):
        with pytest.raises(InputError, match=r"cannot (choose|score|embed) \(its capability is written\)"):
            ask()
    with pytest.raises(InputError, match=r"cannot score or embed"):
        model.require("score", "embed")
    with pytest.raises(InputError, match="capability = 'exact', found 'written'"):
        connect(capability="exact")


def test_next_tokens_of_a_chat_make_a_choice(connect, fault, reply, chat) -> None:
    def answer(body, _):
        said = chat("1")
        if body.get("logprobs"):
            top = [{"token": t, "logprob": float(np.log(p))} for t, p in (("1", 0.5), (" 1", 0.1), ("2", 0.2))]
            said["choices"][0]["logprobs"] = {"content": [{"token": "1", "logprob": -0.7, "top_logprobs": top}]}
        words = body["messages"][0]["content"].split()
        said["usage"]["prompt_tokens"] = 5 + sum(2 if word == "Munchkin" else 1 for word in words)
        return reply(said)

    fault.answer = answer
    model = connect()
    assert model.capability == "label"
    told, untold = model.choose([Question("Which?", ("1", "2")), Question("Which?", ("1", "2", "3"))])
    np.testing.assert_allclose(told.probabilities, [0.75, 0.25])
    np.testing.assert_allclose(told.log_likelihoods, np.log([0.6, 0.2]))
    assert told.missing_mass == pytest.approx(0.2)
    # An unreported choice has at most the least reported (.1) and at most all that is missing (.2).
    np.testing.assert_allclose(untold.probabilities, np.array([0.6, 0.2, 0.1]) / 0.9)
    assert untold.log_likelihoods is None
    with pytest.raises(InputError, match="'Munchkin' is not one token"):
        model.choose([Question("Which?", ("1", "Munchkin"))])


@pytest.fixture
def decides(fault, reply, chat):
    """The fault server chats and decides; a test may replace the replies to decisions."""

    def decision(body, _):
        kinds = {name: asked["type"] for name, asked in body["questions"].items()}
        return reply({"answers": {name: {"type": kind, "noul": 0.25} for name, kind in kinds.items()}})

    fault.decide = decision
    fault.places = ("/chat/completions", "/systemone")
    fault.answer = lambda body, n: fault.decide(body, n) if "questions" in body else reply(chat("ok"))
    return fault


def test_many_choices_are_decided_in_several_requests(connect, decides, reply) -> None:
    model = connect()
    assert model.capability == "typed"

    def by_number(body, _):
        numbers = {name: int(asked["instructions"].split()[1][:-1]) for name, asked in body["questions"].items()}
        return reply({"answers": {name: {"type": "noul", "noul": n / 100} for name, n in numbers.items()}})

    decides.decide = by_number
    question = Question(
        "Ann bought ", tuple(f" item {number % 70}" for number in range(140)), "subset", verdict=": so?"
    )
    (answer,) = model.choose([question])
    assert answer.probabilities.tolist() == [number % 70 / 100 for number in range(140)]
    second, first = sorted(decides.bodies, key=lambda body: len(body["questions"]))  # they may arrive in any order
    assert (len(first["questions"]), len(second["questions"])) == (64, 6)
    assert (first["state"], first["questions"]["0"]["instructions"]) == ("Ann bought", "item 0: so?")
    assert (model.usage.calls, model.usage.completion_tokens) == (1, 0)
    assert model.usage.prompt_tokens > 70 * 5  # as no reply told how many
    assert model.write(["a"]) == ["ok"]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"1": {"noul": 1}},
        {"0": {"choice": "b", "probabilities": {"b": 1.0}}},
        {"0": {"choice": "b", "probabilities": {"b": 0.5, "c": 0.2}}},
        {"0": {"choice": "b", "probabilities": {"b": 1.5, "c": -0.5}}},
        {"0": {"choice": "b", "probabilities": {"b": "likely", "c": "not"}}},
    ],
)
def test_what_is_no_decision_is_asked_for_again(connect, decides, reply, waits, said) -> None:
    model = connect()
    sound = {"0": {"type": "choice", "choice": "b", "probabilities": {"b": 0.75, "c": 0.25}}}
    decides.decide = lambda _, n: reply({"answers": said if n == 0 else sound})
    (answer,) = model.choose([Question("a", ("b", "c", " b"))])
    assert answer.probabilities.tolist() == [0.375, 0.25, 0.375]  # equal choices share
    assert len(waits) == 1


def test_what_a_server_decides_can_be_stated_and_denied(connect, decides, reply) -> None:
    assert connect(capability="written").capability == "written"
    decides.decide = lambda *_: reply({"error": {"message": "labels that are not single tokens"}}, 400)
    assert connect().capability == "written"
    with pytest.raises(InputError, match="capability = 'typed', found 'written'"):
        connect(capability="typed")


def test_tokens_of_half_characters_are_laid_over_the_text() -> None:
    tokens = [("<s>", None), ("七人", -1.0), ("�", -2.0), ("�", -3.0), (" Ø", -4.0), ("d", -5.0)]
    read = ReadText.of("七人侍 Ød", tokens, "here")
    assert read.begins.tolist() == [0, 2, 2, 4, 5]
    assert read.log_probabilities.tolist() == [-1, -2, -3, -4, -5]
    with pytest.raises(ResourceError, match="are not those of the text"):
        ReadText.of("another text altogether", tokens, "here")
    with pytest.raises(ResourceError, match="are not those of the text"):
        ReadText.of("七人侍 Ød and more", tokens, "here")


# ------------------------------------------------------------------------------------------------ real server processes


PASSAGES = [
    Passage(("\n", "Munchkin Clerical Errors\n", "七人の侍\n"), (False, True, True)),
    Passage(("Bought: ", "Ødipus", " and", " Toy Story"), (False, True, False, True)),
    Passage(("nothing",), (False,)),
]
QUESTIONS = [
    Question("Ann bought ", ("Toy Story", "The Lion King", "Toy Story", "“Amélie”")),
    Question("Ann bought", (" Toy Story", " 七人の侍, a very long title"), "ranking", length_normalised=True),
    Question("Ann bought", (" Toy Story", " a card game"), "subset"),
]


def test_a_server_with_echo_says_what_the_model_itself_says(tiny: LocalModel, served: str, tmp_path: Path) -> None:
    url = f"{served}/exact/v1"
    model = ServerModel.connect("tiny", ServerConfig(base_url=url, concurrency=3))
    assert model.capability == "exact"
    model.require("choose", "score", "embed")
    for found, own in zip(model.score(PASSAGES), tiny.score(PASSAGES), strict=True):
        np.testing.assert_allclose(found.log_probabilities, own.log_probabilities, atol=1e-4)
        assert found.n_tokens.tolist() == own.n_tokens.tolist()
    with Journal(tmp_path / "j.sqlite") as journal:
        answers = JournaledModel(model, journal).choose(QUESTIONS)
    for found, own in zip(answers, tiny.choose(QUESTIONS), strict=True):
        np.testing.assert_allclose(found.probabilities, own.probabilities, atol=1e-5)
    np.testing.assert_allclose(model.embed(["Ann", "Bob and 七"]), tiny.embed(["Ann", "Bob and 七"]), atol=1e-5)
    assert model.write(["Ann"], 4) == tiny.write(["Ann"], 4)
    assert model.identity.startswith(served.removeprefix("http://") + "/tiny@")
    assert "unknown" not in model.identity
    with pytest.raises(InputError, match="mode trie"):
        model.choose([Question("a", ("b", "c"), "trie")])


def test_a_server_with_next_tokens_chooses_among_them(tiny: LocalModel, served: str) -> None:
    url = f"{served}/label/v1"
    model = ServerModel.connect("tiny", ServerConfig(base_url=url))
    assert model.capability == "label"  # the server ignores that an echo is asked for, and is not believed
    ids = tiny.scorer.greedy([tiny.tokens.texts(["Ann bought"])[0]], 1, lambda _: True)[0]
    best = tiny.tokenizer.decode(ids)
    question = Question("Ann bought", (best, "a"))
    (found,), (own,) = model.choose([question]), tiny.choose([question])
    assert found.log_likelihoods is None or np.allclose(found.log_likelihoods, own.log_likelihoods, atol=1e-4)
    assert found.probabilities.argmax() == 0 == own.probabilities.argmax()
    assert 0 < found.missing_mass < 1
    with pytest.raises(InputError, match="is not one token"):
        model.choose([Question("Ann bought", ("a", " Toy Story"))])


def test_a_server_that_only_decides_chooses_and_does_nothing_else(tiny: LocalModel, served: str, tmp_path) -> None:
    model = ServerModel.connect("tiny", ServerConfig(base_url=f"{served}/typed/v1"))
    assert model.capability == "typed"
    subset = Question("Ann bought", (" Toy Story", " a card game"), "subset", verdict=": does it go?")
    with Journal(tmp_path / "j.sqlite") as journal:
        (among, each) = JournaledModel(model, journal).choose([QUESTIONS[1], subset])
    (own,) = tiny.choose([Question("Ann bought", QUESTIONS[1].choices, "ranking")])
    np.testing.assert_allclose(among.probabilities, own.probabilities, atol=1e-5)
    alone = tiny.choose([Question(f"Ann bought{choice}: does it go?", (" yes", " no")) for choice in subset.choices])
    np.testing.assert_allclose(each.probabilities, [one.probabilities[0] for one in alone], atol=1e-5)
    with pytest.raises(InputError, match="cannot write"):
        model.write(["Ann"])
    with pytest.raises(InputError, match="cannot score"):
        model.score(PASSAGES)


@pytest.mark.model
def test_the_server_of_transformers_decides_writes_and_fills_a_schema() -> None:
    own = LocalModel.load("smollm2-135m", dtype="float32")  # turns the file into a folder that transformers can serve
    folder = next(assets.resolve("smollm2-135m", "model").glob("dequantised-*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", folder, "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        url = f"http://localhost:{port}"
        for _ in range(600):
            assert process.poll() is None
            try:
                urllib.request.urlopen(f"{url}/health").close()
                break
            except OSError:
                time.sleep(0.2)
        model = ServerModel.connect(str(folder), ServerConfig(base_url=f"{url}/v1", max_repairs=1))
        assert model.capability == "typed"
        question = Question("Ann bought Toy Story.", ("a film", "a card game"), "subset", verdict=": did she?")
        (answer,) = model.choose([question])
        said = [f"Ann bought Toy Story.\n\n{one}: did she?\nAnswer Yes or No only." for one in question.choices]
        turns = [[{"role": "user", "content": text}] for text in said]
        shown = own.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        alone = own.choose([Question(text, ("Yes", "No")) for text in shown])
        np.testing.assert_allclose(answer.probabilities, [one.probabilities[0] for one in alone], atol=0.03)
        (answer,) = model.choose([Question("Which one is a number?", ("seven", "a bear", "a tree"))])
        assert answer.probabilities.sum() == pytest.approx(1)
        assert len(model.write(["Two and two are", "The capital of France is"], 6)) == 2
        assert model.usage.prompt_tokens > 5
        (found,) = model.write_objects(['Write this again: {"item": "bear", "sure": true}'], Verdict, 24)
        assert isinstance(found, (Verdict, Failure))
        with pytest.raises(InputError, match="cannot score"):
            model.require("score")
    finally:
        process.terminate()
        process.wait()
