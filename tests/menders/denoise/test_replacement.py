import numpy as np
import pytest

from seqmend.errors import InputError
from seqmend.interactions import Catalogue
from seqmend.menders.denoise.replacement import Grounding, GroundingTable, suggest_by_behaviour, suggest_by_language
from seqmend.menders.denoise.statistics import count, describe
from seqmend.menders.denoise.windows import cut


def title_vectors(clean, encoder):
    return np.concatenate([np.zeros((1, 20)), encoder.embed(clean.catalogue.prompt_titles[1:])]).astype(np.float32)


def statistics_of(clean, encoder):
    return describe(count(clean, np.ones(len(clean), dtype=bool)), title_vectors(clean, encoder), embedding_size=8)


class Parrot:
    """Writes what it is told to: the one fault that matters here is text that no model was meant to write."""

    def __init__(self, texts):
        self.texts = texts

    def write(self, prompts, max_new_tokens=64):
        self.prompts = prompts
        return self.texts


def flagged(clean):
    windows = cut(clean, 10)
    items = windows.items[:6].copy()
    columns = np.array([0, 3, 5, 9, 2, 4])
    strangers = (items[np.arange(6), columns] - 1 + 24) % 48 + 1
    items[np.arange(6), columns] = strangers
    return items, columns


def test_behaviour_suggests_an_item_of_the_windows_kind_that_is_not_in_it(clean, encoder):
    items, columns = flagged(clean)
    found = suggest_by_behaviour(items, columns, np.ones(items.shape), statistics_of(clean, encoder))
    for row, column, suggestion in zip(items, columns, found, strict=True):
        rest = np.delete(row, column)
        assert suggestion.item not in row
        assert (suggestion.item - 1) // 12 == (rest[0] - 1) // 12


def test_distrusted_cells_have_no_say(clean, encoder):
    items = np.array([[1, 2, 3, 25, 26, 27, 28, 40]], dtype=np.int32)
    trusted = np.array([[1, 1, 1, 0, 0, 0, 0, 1.0]])
    found = suggest_by_behaviour(items, np.array([7]), trusted, statistics_of(clean, encoder))
    assert found[0].item <= 12


def test_what_the_model_writes_is_grounded_in_the_catalogue(clean, encoder):
    items, columns = flagged(clean)
    row = items[0]
    outside = next(item for item in range(1, 13) if item not in row)
    title = clean.catalogue.prompt_titles[outside]
    inside = clean.catalogue.prompt_titles[int(row[5])]
    parrot = Parrot([title.upper() + "!\nand more", inside, "", "wooden train number 99", "\n", "<|im_end|>"])
    statistics = statistics_of(clean, encoder)
    found = suggest_by_language(
        items, columns, clean.catalogue, statistics, parrot, encoder, title_vectors(clean, encoder)
    )
    assert (found[0].item, found[0].grounding) == (outside, "exact")
    assert found[1].grounding == "nearest"
    assert found[1].item not in row
    assert found[2] is None
    assert clean.catalogue.prompt_titles[found[3].item].startswith("wooden train")
    assert found[4] is None
    flagged_title = clean.catalogue.prompt_titles[int(items[0, columns[0]])]
    assert flagged_title not in parrot.prompts[0].split("\n")


def test_an_item_without_training_interactions_is_never_suggested(clean, encoder):
    ids = dict(zip(clean.catalogue.item_ids.to_list()[1:], clean.catalogue.titles.to_list()[1:], strict=True))
    catalogue = Catalogue.from_titles({**ids, "new": "wooden train number 5"})
    sequences = type(clean)(clean.user_ids, clean.offsets, clean.items, clean.timestamps, catalogue)
    titles = np.concatenate([np.zeros((1, 20)), encoder.embed(catalogue.prompt_titles[1:])]).astype(np.float32)
    statistics = describe(count(sequences, np.ones(len(sequences), dtype=bool)), titles, embedding_size=8)
    items = np.array([[1, 2, 3, 25]], dtype=np.int32)
    found = suggest_by_language(
        items, np.array([3]), catalogue, statistics, Parrot(["wooden train number five"]), encoder, titles
    )
    assert found[0].item != 49
    assert suggest_by_behaviour(items, np.array([3]), np.ones((1, 4)), statistics)[0].item != 49


ITEMS = {"a": "The Lion King", "b": "Brazil", "c": "the lion king!", "d": "Brazil", "e": None, "f": "Casino"}
POPULARITY = np.array([0, 1, 5, 9, 2, 3, 0.0])  # nobody chose Casino


class Letters:
    """How often each letter stands in a text, not normalised."""

    identity = "letters"

    def embed(self, texts):
        letters = "abcdefghijklmnopqrstuvwxyz"
        return np.array([[text.lower().count(letter) for letter in letters] for text in texts], dtype=np.float32)


def grounding(**settings):
    catalogue = Catalogue.from_titles(ITEMS)
    vectors = GroundingTable.of(catalogue, Letters()).vectors
    return Grounding(catalogue, POPULARITY, Letters(), vectors, **settings)


def test_the_corrected_and_the_paper_s_grounding_by_hand():
    texts = ["the lion king", "Brazil", "Casino", "Brasil"]
    items = np.array([[1, 0], [0, 2], [1, 2], [1, 0]], dtype=np.int32)
    found = grounding().suggest(texts, items)
    # The most popular of equal names; none of the window's; none that nobody chose.
    assert [(s.item, s.grounding) for s in found] == [(3, "exact"), (4, "nearest"), (4, "nearest"), (2, "nearest")]
    paper = grounding(exclude="padding").suggest(texts, items)
    # The first item of the very title, whatever stands in the window.
    assert [(s.item, s.grounding) for s in paper] == [(1, "nearest"), (2, "exact"), (6, "exact"), (2, "nearest")]
    assert found[3].distance == np.sqrt(2)  # a z against an s
    assert found[3].to_dict()["distance"] == 1.4142


def test_beyond_the_distance_cap_the_original_is_kept():
    items = np.zeros((2, 2), dtype=np.int32)
    texts = ["Brasil", "something else altogether"]
    found = grounding(max_distance=2.0).suggest(texts, items)
    assert found[0].item == 2
    assert found[1] is None
    assert grounding().suggest(texts, items)[1] is not None


def test_where_nothing_is_allowed_nothing_is_suggested():
    everything = np.array([[1, 2, 3, 4]], dtype=np.int32)
    assert grounding().suggest(["Brazil"], everything) == [None]


def test_a_table_is_read_back_and_that_of_others_refused(tmp_path):
    catalogue = Catalogue.from_titles(ITEMS)
    table = GroundingTable.of(catalogue, Letters())
    table.write(tmp_path / "table.safetensors")
    again = GroundingTable.read(tmp_path / "table.safetensors", catalogue, Letters())
    np.testing.assert_array_equal(again.vectors, table.vectors)
    other = Catalogue.from_titles({**ITEMS, "b": "Brasil"})
    with pytest.raises(InputError, match="another catalogue"):
        GroundingTable.read(tmp_path / "table.safetensors", other, Letters())
