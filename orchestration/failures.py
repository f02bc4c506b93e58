"""Errors that a person can mend, as Dagster shows them.

Belongs here: turning a `NextbestError` into a failed step whose description is its message. A fault of the program
stays an exception with its stack trace.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from nextbest.errors import NextbestError


@contextmanager
def explained() -> Iterator[None]:
    """Fail the step with the message of a `NextbestError`; running it again would change nothing."""
    try:
        yield
    except NextbestError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
