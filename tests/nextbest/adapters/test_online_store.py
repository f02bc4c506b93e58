"""Whether features are still where they were copied to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nextbest.adapters.online_store import OnlineStoreError, is_filled, note_filled
from nextbest.settings import Settings


def test_a_store_is_filled_once_that_was_noted(home: Callable[[], Settings]) -> None:
    """Not before: on SQLite the file is the note."""
    settings = home()
    assert not is_filled(settings, "v1")
    settings.feast_online.parent.mkdir(parents=True)
    settings.feast_online.touch()
    note_filled(settings, "v1")
    assert is_filled(settings, "v1")


@pytest.mark.parametrize("home", ["redis"], indirect=True)
def test_a_server_that_was_emptied_or_filled_with_something_else_is_not_filled(home: Callable[[], Settings]) -> None:
    """The features have to be copied anew."""
    settings = home()
    note_filled(settings, "v1")
    assert not is_filled(settings, "v2")
    home()
    assert not is_filled(settings, "v1")


def test_a_server_that_does_not_answer_is_said_without_its_password(tmp_path: Path, redis_server: Any) -> None:
    """Whoever runs the pipeline reads where it should be."""
    url = f"redis://:secret@127.0.0.1:{redis_server.port}/0"
    redis_server.kill()
    with pytest.raises(OnlineStoreError, match=f"Redis at 127.0.0.1:{redis_server.port}/0") as said:
        is_filled(Settings(home=tmp_path, state_url=url), "v1")
    redis_server.start()
    assert "secret" not in str(said.value)
