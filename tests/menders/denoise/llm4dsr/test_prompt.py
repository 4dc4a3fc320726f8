import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqmend.interactions import clean_title
from seqmend.menders.denoise.llm4dsr import LLM4DSRConfig, TuningConfig, prompt
from seqmend.menders.denoise.llm4dsr.mender import LLM4DSR
from seqmend.menders.denoise.llm4dsr.tuning import Corrupted, passages

titles = st.lists(st.text(max_size=40).map(clean_title), min_size=1, max_size=11)


class Recorder:
    """Answers nothing of interest and remembers what it was asked."""

    identity = "recorder"

    def __init__(self):
        self.asked: list[str] = []

    def choose(self, questions):
        from seqmend.llm import Answer

        self.asked += [question.prompt for question in questions]
        n = [len(question.choices) for question in questions]
        return [Answer(np.full(k, 1 / k), np.log(np.full(k, 1 / k))) for k in n]

    def write(self, prompts, max_new_tokens=64, stop=None):
        self.asked += prompts
        return [""] * len(prompts)


def test_tuning_and_inference_say_the_same_byte_for_byte_up_to_the_cursor(clean, encoder):
    """Check 6 of the specification: through the code that tunes and the code that asks, not through the template."""
    items = clean.items[:10][None].copy()
    spoiled = items.copy()
    spoiled[0, 4] = (items[0, 4] + 23) % 48 + 1
    tuned = passages(Corrupted(spoiled, items), clean.catalogue, TuningConfig(), "</s>")[0]
    text = "".join(tuned.parts)
    asked = {}
    for scorer in ("trie", "first_token", "full_title"):
        recorder = Recorder()
        config = LLM4DSRConfig(scorer=scorer, threshold=0.0, above_none=False)
        mender = LLM4DSR(config, recorder, encoder).fit(clean)
        log = type(clean)(clean.user_ids[:1], np.array([0, 10]), spoiled[0], clean.timestamps[:10], clean.catalogue)
        mender.propose(log)
        asked[scorer] = recorder.asked
        assert len(recorder.asked) == 2  # the question, and the replacement of one title
        assert text.startswith(recorder.asked[0])
    flagged = clean.catalogue.prompt_titles[spoiled[0, 0]]  # of equal scores the first is named
    named = clean.catalogue.prompt_titles[spoiled[0, 4]]
    cursor = asked["trie"][1].replace(f'Noisy: "{flagged}"', f'Noisy: "{named}"')
    assert text.startswith(cursor)
    assert asked["first_token"][0] == asked["trie"][0] + ' "'
    assert text == cursor + clean.catalogue.prompt_titles[items[0, 4]] + '"</s>'


@given(titles)
def test_titles_cannot_break_the_format(clean_titles):
    text = prompt.question(clean_titles)
    listed = text.split("\n\nInput: ")[1].split("\n\nResponse:\n")[0]
    assert re.findall(r'"([^"]*)"', listed) == clean_titles
    assert listed.count("\n") == 0
    answer = prompt.response(clean_titles[:1], clean_titles[-1:])
    assert re.fullmatch(r' "([^"\n]*)"\nSuggested: "([^"\n]*)"', answer)
    assert prompt.response([], []) == " None\nSuggested: None"
    assert prompt.named(["None"]) != prompt.named([])


@given(st.lists(st.text(min_size=1, max_size=400), min_size=1, max_size=11))
def test_the_oldest_titles_go_first_and_no_more_than_must(given_titles):
    dropped = prompt.n_dropped(given_titles)
    assert 0 <= dropped < len(given_titles)
    sizes = [len(title.encode()) for title in given_titles]
    assert sum(sizes[dropped:]) <= prompt.MAX_TITLE_BYTES or dropped == len(given_titles) - 1
    assert dropped == 0 or sum(sizes[dropped - 1 :]) > prompt.MAX_TITLE_BYTES


def test_all_prompts_begin_alike(clean):
    a, b = prompt.question(["Alien"]), prompt.question(["Brazil", "Casino"])
    assert a[: a.index("Alien")] == b[: b.index("Brazil")]
    assert len(a[: a.index("Alien")]) > 150
