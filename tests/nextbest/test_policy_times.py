"""Days, moments and times of day: what a person writes is what is meant, or is refused."""

import datetime as dt

import pytest
from pydantic import TypeAdapter, ValidationError

from nextbest.policy_times import Day, TimeOfDay

DAY: TypeAdapter[dt.date] = TypeAdapter(Day)
TIME: TypeAdapter[str] = TypeAdapter(TimeOfDay)
NEW_YEAR = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (dt.date(2027, 1, 1), dt.date(2027, 1, 1)),
        ("2027-01-01", dt.date(2027, 1, 1)),
        (NEW_YEAR, NEW_YEAR),
        ("2027-01-01T00:00:00Z", NEW_YEAR),
        ("2027-01-01T01:00:00+01:00", NEW_YEAR),
        (dt.date(9999, 12, 30), dt.date(9999, 12, 30)),
    ],
)
def test_a_midnight_is_no_day(written: object, meant: dt.date) -> None:
    """In quotes or not, a moment is a moment and a day a day, also once it was archived."""
    read = DAY.validate_python(written)
    assert (type(read), read) == (type(meant), meant)
    again = DAY.validate_json(DAY.dump_json(read))
    assert (type(again), again) == (type(read), read)


@pytest.mark.parametrize(
    "written",
    [
        20270101,
        1.0,
        True,
        dt.datetime(2027, 1, 1),  # noqa: DTZ001  it has no zone, which is what is wrong with it
        "2027-01-01T00:00:00",
        dt.date(9999, 12, 31),
        "9999-12-31T23:59:59-05:00",
        "0001-01-01",
    ],
)
def test_what_is_no_day_is_refused(written: object) -> None:
    """A number is no date, a moment has a zone, and what has no day before or after it is beyond the calendar."""
    with pytest.raises(ValidationError):
        DAY.validate_python(written)


def test_a_time_of_day_has_minutes() -> None:
    """What YAML reads to the base of 60 is turned back; 21 alone would be 21 minutes past midnight."""
    assert [TIME.validate_python(each) for each in (1290, "08:00", 60)] == ["21:30", "08:00", "01:00"]
    for wrong in (21, True, 0, 1440, 21.3, "8:00"):
        with pytest.raises(ValidationError):
            TIME.validate_python(wrong)
