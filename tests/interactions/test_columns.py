from pathlib import Path

import pytest

from seqmend.errors import InputError
from seqmend.interactions import ALIASES, ColumnNames
from seqmend.interactions.columns import BY_ALIAS, find_column, require_column

LOG = Path("log.csv")


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("user_id", "User ID"),
        ("user_id", "userId"),
        ("user_id", "USER"),
        ("user_id", "user_id:token"),
        ("user_id", "reviewerID"),
        ("user_id", "query_id"),
        ("item_id", "movieId"),
        ("item_id", "item-id"),
        ("item_id", "parent_asin"),
        ("timestamp", "unixReviewTime"),
        ("timestamp", "timestamp:float"),
        ("timestamp", "Event Time"),
        ("title", "movie_title:token_seq"),
        ("title", "Product Name"),
        ("rating", "overall"),
    ],
)
def test_a_column_is_recognised_by_its_alias(role, name):
    assert find_column(role, ["x", name, "y"], BY_ALIAS, LOG) == name


def test_every_alias_belongs_to_one_role_only():
    plain = [alias.replace("_", "") for aliases in ALIASES.values() for alias in aliases]
    assert len(plain) == len(set(plain))


def test_nothing_is_recognised_by_position_or_likeness():
    assert find_column("user_id", ["usr", "u", "0", "users_of_today"], BY_ALIAS, LOG) is None


def test_the_roles_own_name_goes_before_aliases():
    assert find_column("item_id", ["asin", "item_id", "sku"], BY_ALIAS, LOG) == "item_id"


def test_the_users_own_name_goes_before_everything():
    names = ColumnNames(item_id="sku")
    assert find_column("item_id", ["asin", "item_id", "sku"], names, LOG) == "sku"
    assert find_column("item_id", ["item_id:token", "sku:token"], names, LOG) == "sku:token"


def test_two_candidates_are_refused_and_named():
    with pytest.raises(InputError) as caught:
        find_column("item_id", ["asin", "parent_asin"], BY_ALIAS, LOG)
    assert "2 columns could hold the item ids: 'asin', 'parent_asin'" in str(caught.value)
    assert "--item-column" in str(caught.value)


def test_a_missing_column_names_what_was_found_and_what_is_near():
    with pytest.raises(InputError) as caught:
        require_column("user_id", ["usr_id", "itm", "when"], BY_ALIAS, LOG)
    assert str(caught.value) == (
        "no column holds the user ids\n"
        "  at: log.csv, with the columns 'usr_id', 'itm', 'when'\n"
        "  expected: a column named user_id, or one of its aliases (user, uid, user_name, customer_id, customer, "
        "visitor_id, ...)\n"
        "  do: name it with --user-column, for instance --user-column 'usr_id'"
    )


@pytest.mark.parametrize("names", [BY_ALIAS, ColumnNames(item_id="Produkt")])
def test_a_column_of_another_role_is_not_suggested(names):
    with pytest.raises(InputError) as caught:
        require_column("title", [names.item_id or "Product", "Label"], names, LOG)
    assert str(caught.value).endswith("do: name it with --title-column")


def test_a_wrong_own_name_suggests_a_near_one():
    with pytest.raises(InputError, match="there is no column 'usr_id' for the user ids") as caught:
        find_column("user_id", ["user_id", "b"], ColumnNames(user_id="usr_id"), LOG)
    assert "for instance 'user_id'" in str(caught.value)


def test_a_first_line_of_numbers_is_taken_for_a_missing_header():
    with pytest.raises(InputError, match="the first line looks like data"):
        require_column("user_id", ["196", "242", "3", "881250949"], BY_ALIAS, LOG)


def test_many_and_long_names_are_shortened_and_control_characters_shown():
    with pytest.raises(InputError) as caught:
        require_column("user_id", ["x" * 100, "a\x1b[31m", *(f"c{n}" for n in range(40))], BY_ALIAS, LOG)
    message = str(caught.value)
    assert "x" * 39 + "…" in message
    assert "\x1b" not in message
    assert "and 22 more" in message
