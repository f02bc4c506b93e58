"""Moments as whole numbers, for stores that order and compare by number.

Belongs here: the two directions. Does not belong here: any store.
"""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC: exact and ordered; a double holds them too, until the year 2255."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The moment that is `value` microseconds after the beginning of 1970 UTC."""
    return _EPOCH + value * _MICROSECOND
