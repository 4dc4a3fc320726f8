import polars as pl
import pytest

from seqmend.errors import InputError
from seqmend.interactions import Catalogue
from seqmend.llm import Budget, Journal, JournaledModel
from seqmend.menders.correct import Attributes, Memory, MemoryConfig, Prompt, Renderer, Summary, make_memory
from seqmend.menders.correct.summaries import believable, first_line

TITLES = {
    "a": "Alien", "b": "Heat; or, The Job", "c": None, "d": "None", "e": "<|im_end|>1984", "f": "Alien", "g": "<b></b>"
}  # fmt: skip
CATALOGUE = Catalogue.from_titles(TITLES)
TABLE = pl.DataFrame({"item_id": ["a", "b", "c"], "genre": ["Horror", "Crime, Drama", "Lost"]})
ATTRIBUTES = Attributes.from_frame(TABLE, CATALOGUE, ["genre"])
CONFIG = MemoryConfig(add_memory=True)


def made(writer, items=range(1, 8), attributes=ATTRIBUTES, config=CONFIG):
    return make_memory(writer, CATALOGUE, items, attributes, config, "films")


def title_in(prompt: str) -> str:
    return prompt.split('Title: "')[1].split('"')[0]


def test_summaries_are_asked_for_once_per_item_with_a_title_and_kept_with_their_source(make_writer, tmp_path):
    texts = {"Alien": "Alien is a horror film of 1979.", "Heat; or, The Job": "I am sorry, I cannot help with that."}
    writer = make_writer(lambda prompt: texts.get(title_in(prompt), "") + "</summary> and more")
    memory = made(writer, [1, 2, 3, 4, 5, 6, 7, 1])
    assert [title_in(prompt) for prompt in writer.prompts] == ["Alien", "Heat; or, The Job", "None", "1984", "Alien"]
    assert "genre: Crime, Drama" in writer.prompts[1]
    assert memory.summaries == {
        1: Summary("Alien is a horror film of 1979.", "llm"),
        2: Summary("genre: Crime, Drama", "fallback"),  # a refusal says nothing of the item
        6: Summary("Alien is a horror film of 1979.", "llm"),  # of the same title
    }
    memory.write(tmp_path / "memory.parquet", CATALOGUE)
    table = pl.read_parquet(tmp_path / "memory.parquet")
    assert table.columns == ["item_id", "title", "summary", "version", "source"]
    assert table["item_id"].to_list() == ["a", "b", "f"]
    assert Memory.read(tmp_path / "memory.parquet", CATALOGUE) == memory


def test_attributes_alone_ask_nothing(make_writer):
    writer = make_writer(lambda prompt: "x")
    memory = made(writer, config=MemoryConfig(add_memory=True, written_by="attributes"))
    assert writer.prompts == []
    assert dict(memory) == {1: "genre: Horror", 2: "genre: Crime, Drama"}
    assert len(made(make_writer(lambda prompt: ""), attributes=None)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "", " \n", "Alien", "Alien alien.", "A film of war and love.", "I'm sorry, but I cannot do that.",
        "エイリアンは映画です", "</summary>", "NONE", "<summary></summary>",
    ],
)  # fmt: skip
def test_what_cannot_be_about_the_item_gives_way_to_its_attributes(make_writer, text):
    assert made(make_writer(lambda prompt: text), [1]).summaries == {1: Summary("genre: Horror", "fallback")}


def test_a_text_that_is_repeated_is_about_none_of_them(make_writer):
    plot = "{} tells how a cook from Turin falls in love with her neighbour and opens a bakery."
    memory = made(make_writer(lambda prompt: plot.format(title_in(prompt))))
    assert {own.source for own in memory.summaries.values()} == {"fallback"}
    titles = {n: f"Story {n}" for n in range(600)}
    texts = {n: f"Story {n} is about topic{n} and theme{n} in place{n % 300}" for n in titles}
    told = dict.fromkeys(titles, "")
    assert believable(texts, titles, told, 0.8) == set(titles)
    texts |= {0: plot.format("Story 0"), 599: plot.format("Story 599")}  # far apart
    assert believable(texts, titles, told, 0.8) == set(titles) - {0, 599}
    assert believable(texts, titles | {599: "STORY 0"}, told, 0.8) >= {0}


def test_a_summary_is_one_short_paragraph_without_marks(make_writer):
    assert first_line('\n  A "war"\tfilm <|im_end|>of love \n\nNext') == "A 'war' film of love"
    (text,) = made(make_writer(lambda prompt: "Sure!\n<summary>\nAlien is about fear and space.\nThis"), [1]).values()
    assert text == "Alien is about fear and space."
    (text,) = made(make_writer(lambda prompt: "Alien is " + "very " * 50 + "x" * 900), [1]).values()
    assert len(text) == 500


def test_a_spent_budget_leaves_attributes(make_writer, tmp_path):
    writer = make_writer(lambda prompt: f"{title_in(prompt)} is a film about fear.")
    with Journal(tmp_path / "j.sqlite") as journal:
        memory = made(JournaledModel(writer, journal, Budget(calls=0)), [1, 2])
        assert {own.source for own in memory.summaries.values()} == {"fallback"}
        assert made(JournaledModel(writer, journal), [1]).summaries[1].source == "llm"


def test_a_rewrite_shows_in_the_next_question_and_counts_up():
    memory = Memory({1: Summary("of old", "fallback")})
    newer = memory.rewritten({1: "of new", 2: "first"})
    assert newer.summaries == {1: Summary("of new", "llm", 2), 2: Summary("first", "llm", 1)}
    assert memory[1] == "of old"
    assert memory.digest != newer.digest == Memory(dict(newer.summaries)).digest
    before, after = (Renderer(Prompt(), CATALOGUE, m).for_each([1], 2) for m in (memory, newer))
    assert "of old" in before
    assert "of old" not in after
    assert '"Alien" (of new)' in after
    assert "(first)" in after


def test_given_summaries_come_by_id_and_from_any_column():
    table = pl.DataFrame({"item_id": ["f", "a", "zz", "b"], "told": [" of f ", "of a", "of none", ""]})
    memory = Memory.from_frame(table, CATALOGUE, "told")
    assert memory.summaries == {1: Summary("of a", "given"), 6: Summary("of f", "given")}
    with pytest.raises(InputError, match="no column 'summary'"):
        Memory.from_frame(table, CATALOGUE)
    with pytest.raises(InputError, match="more than one summary"):
        Memory.from_frame(pl.DataFrame({"item_id": ["a", "a"], "summary": ["x", "y"]}), CATALOGUE)


def test_a_file_that_is_no_memory_is_named(tmp_path):
    (tmp_path / "memory.parquet").write_text("no")
    with pytest.raises(InputError, match=r"memory\.parquet"):
        Memory.read(tmp_path / "memory.parquet", CATALOGUE)
