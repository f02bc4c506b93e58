from dataclasses import replace
from pathlib import Path

import pytest

from nextbest.adapters.complete_journey import CompleteJourney
from nextbest.adapters.sources import SourceError, load_source
from nextbest.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_the_default_source_is_the_demo_data(settings: Settings) -> None:
    """Without any setting, the demo has data."""
    assert isinstance(load_source(settings), CompleteJourney)


def test_no_source_means_files_are_landed_by_hand(settings: Settings) -> None:
    """`none` is a choice, not an error."""
    assert load_source(replace(settings, source="none")) is None


@pytest.mark.parametrize("named", ["nowhere:Class", "nextbest.source:Nothing", "nextbest.source", ":Class", ""])
def test_a_source_that_is_not_there_is_named_with_its_setting(settings: Settings, named: str) -> None:
    """A wrong setting reads as one sentence that names the variable and what it takes."""
    with pytest.raises(SourceError, match=r"NEXTBEST_SOURCE is .* it takes `module:Class`, `mappings` or `none`"):
        load_source(replace(settings, source=named))
