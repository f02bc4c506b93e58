"""Defects: the log says where, and not what."""

from serving.defects import place_of, without_paths


def _inner(secret: str) -> None:
    raise ValueError(f"{secret} is not a number")


def test_the_place_is_named_and_no_value() -> None:
    """The kind of error and the calls that led there, innermost first; neither its message nor a path."""
    try:
        _inner("jane@example.com")
    except ValueError as error:
        said = place_of(error)
    assert said.startswith("ValueError at test_defects._inner:")
    assert "test_the_place_is_named" in said
    assert "jane" not in said
    assert "/" not in said


def test_an_error_without_a_trace_is_said_too() -> None:
    """One that was never raised, say."""
    assert place_of(KeyError("x")) == "KeyError at an unknown place"


def test_a_foreseen_error_is_said_without_paths() -> None:
    """What to do stays, where files are on this machine goes."""
    error = OSError("the event log cannot be used: /srv/shop/.nextbest/log/events.db: database is locked")
    assert without_paths(error) == "the event log cannot be used: …: database is locked"
