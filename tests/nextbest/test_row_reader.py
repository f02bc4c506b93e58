"""The fast way and the exact way of judging a row come to the same."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.adapters.contract_files import load_contracts
from nextbest.contracts import Contract, Field, Rule
from nextbest.row_check import RowCheck
from nextbest.settings import CHECKOUT
from nextbest.wire import INTAKE

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
REQUIRED = Rule("required")
EVERY_KIND = Contract(
    "every_kind",
    "1.0.0",
    (
        Field("thing_id", "string", "VARCHAR", key=True, rules=(REQUIRED, Rule("min_length", 1))),
        Field("customer_id", "string", "VARCHAR"),
        Field("code", "string", "VARCHAR", rules=(Rule("pattern", r"^[a-z]{1,3}\d*$"), Rule("max_length", 4))),
        Field("word", "string", "VARCHAR", rules=(Rule("pattern", r"^(?i:ok|no)$"), Rule("pattern", "o"))),
        Field("text", "string", "VARCHAR", rules=(Rule("max_length", 3), Rule("min_length", 2, "warn"))),
        Field("whole", "integer", "BIGINT", rules=(Rule("minimum", 0), Rule("maximum", 9))),
        Field("half", "integer", "BIGINT", rules=(Rule("minimum", -5),)),
        Field("real", "number", "DOUBLE", rules=(Rule("minimum", -1.5), Rule("maximum", 2.0**60))),
        Field("truth", "boolean", "BOOLEAN", rules=(REQUIRED,)),
        Field("many", "array", "VARCHAR[]"),
        Field("until", "timestamp", "TIMESTAMPTZ", rules=(Rule("maximum", "2030-01-01T00:00:00+01:00"),)),
        Field("source", "string", "VARCHAR", rules=(REQUIRED,)),
    ),
)
CONTRACTS = [*(load_contracts(CHECKOUT / "data_contracts")[name] for name in INTAKE), EVERY_KIND]
CHECKS = {each.name: RowCheck(each, lambda name: not name.startswith("email:")) for each in CONTRACTS}
TEXTS = st.text(max_size=5) | st.sampled_from(
    ["c1", "", ".", "email:a", "ab1", "ab\n", "Ok", "é", "a\u2028b", "x" * 201, "x" * 1_000, "1", "true", "[]", "null"]
)
MOMENTS = st.datetimes(
    datetime(1990, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))) | st.just(UTC),
)
TIMES = st.builds(
    lambda moment, separator, precision, zone: moment.isoformat(separator, precision)[: None if zone else 19] + zone,
    MOMENTS,
    st.sampled_from("T T T t"),
    st.sampled_from(["seconds", "milliseconds", "microseconds", "minutes"]),
    st.sampled_from(["", "", "Z", "+00", "-00:00", "+0130", "+23:59", "z"]),
) | st.sampled_from(["2026-02-30T00:00:00Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2026-03-02"])
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 12) | st.floats(allow_nan=False, allow_infinity=False)
ODD = TEXTS | NUMBERS | TIMES | MOMENTS | st.booleans() | st.none() | st.lists(TEXTS, max_size=2)


def values(field: Field) -> st.SearchStrategy[Any]:
    """Mostly what may be valid."""
    likely = {
        "string": st.sampled_from(field.enum) if field.enum else TEXTS,
        "integer": NUMBERS,
        "number": NUMBERS,
        "boolean": st.booleans(),
        "timestamp": st.just(AT.isoformat()) | TIMES | MOMENTS,
        "array": st.lists(TEXTS, max_size=2),
    }[field.type]
    return likely | likely | likely | ODD


ORDINARY = {
    "string": "ok",
    "integer": 3,
    "number": -0.5,
    "boolean": True,
    "timestamp": "2026-03-02T11:59:59.250+01:00",
    "array": None,
}


def ordinary(contract: Contract) -> dict[str, Any]:
    """A row that says all it can, but what only the server says, and what is never sure."""
    row = {field.name: field.enum[0] if field.enum else ORDINARY[field.type] for field in contract.fields}
    return {name: value for name, value in row.items() if name not in {"received_at", "word"}}


def rows(contract: Contract) -> st.SearchStrategy[dict[str, Any]]:
    """Ordinary rows, of which some columns say something else, and some nothing."""
    other = st.sampled_from(contract.fields).flatmap(lambda field: st.tuples(st.just(field.name), values(field)))
    left_out = st.sets(st.sampled_from([field.name for field in contract.fields if not field.required]), max_size=2)
    return st.builds(
        lambda others, out: {
            name: value for name, value in (ordinary(contract) | dict(others)).items() if name not in out
        },
        st.lists(other, max_size=2),
        left_out if any(not field.required for field in contract.fields) else st.just(set()),
    )


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
@given(data=st.data())
@settings(max_examples=120)
def test_what_is_sure_is_what_the_exact_way_finds(contract: Contract, data: st.DataObject) -> None:
    """The same values, of the same types and in the same order, so that the log says the same to the byte."""
    row, check = data.draw(rows(contract)), CHECKS[contract.name]
    sure = check.sure(row, AT)
    if sure is not None:
        (exact,) = check.exact([row], AT)
        assert isinstance(exact, dict)
        assert sure == exact
        assert [*sure] == [*exact]
        assert [type(value) for value in sure.values()] == [type(value) for value in exact.values()]
        assert msgspec.json.encode(sure) == msgspec.json.encode(exact)


@pytest.mark.parametrize("contract", CONTRACTS[:3], ids=lambda contract: contract.name)
def test_an_ordinary_row_is_sure(contract: Contract) -> None:
    """Otherwise every row would go the long way."""
    sure = CHECKS[contract.name].sure(ordinary(contract), AT)
    assert sure is not None
    assert sure["occurred_at"] == datetime(2026, 3, 2, 10, 59, 59, 250_000, tzinfo=UTC)


@pytest.mark.parametrize("row", [{"source": None}, {"colour": 1}, {"received_at": "now"}, {"occurred_at": "noon"}])
def test_what_is_not_sure_is_left_to_the_exact_way(row: dict[str, Any]) -> None:
    """Whatever is missing, unknown or of another form."""
    good = {"event_id": "e1", "customer_id": "c1", "type": "login", "channel": "web", "occurred_at": AT.isoformat()}
    assert CHECKS["events"].sure(good, AT) is not None
    assert CHECKS["events"].sure(good | row, AT) is None
