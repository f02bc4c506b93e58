"""Days, moments and times of day as strategists write them in YAML.

Belongs here: what each may look like, and what YAML makes of it on the way. Does not belong here: the fields that hold
them (`nextbest.policy_document`), or what they come to in UTC (`nextbest.policy_compiler`).
"""

import datetime as dt
from contextlib import suppress
from typing import Annotated, Final

from pydantic import AwareDatetime, BeforeValidator, Field, Strict, StringConstraints

_HOUR: Final = 60
_FIRST: Final = dt.date(1970, 1, 1)
_LAST: Final = dt.date(9999, 12, 30)
"""A day needs a day after it, in every time zone."""


def _day_or_moment(value: object) -> object:
    """Text as what it says: pydantic would take a midnight for a day, and a number for seconds since 1970."""
    for kind in (dt.date, dt.datetime):
        if isinstance(value, str):
            with suppress(ValueError):
                value = kind.fromisoformat(value)
    return value


def _minutes(value: object) -> object:
    """YAML 1.1 reads 21:30 as a number to the base of 60, which is the minutes since midnight; it reads 21 as 21."""
    return f"{value // 60:02}:{value % 60:02}" if isinstance(value, int) and value >= _HOUR else value


Day = Annotated[
    Annotated[dt.date, Strict(), Field(ge=_FIRST, le=_LAST)]
    | Annotated[
        AwareDatetime,
        Strict(),
        Field(ge=dt.datetime.combine(_FIRST, dt.time(), dt.UTC), le=dt.datetime.combine(_LAST, dt.time(), dt.UTC)),
    ],
    BeforeValidator(_day_or_moment),
]
"""A day in the policy's time zone, or a moment with a zone of its own."""
TimeOfDay = Annotated[str, BeforeValidator(_minutes), StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
