"""Tests of `nextbest.adapters.link_files`: what was proposed is kept, and what became of a pair is in the log."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nextbest.adapters.link_files import read_erased, read_proposals, read_verdicts, write_proposals
from nextbest.adapters.logs import open_log
from nextbest.erasure import erasure
from nextbest.identity import link, unlink
from nextbest.links import Contribution, Proposal, Proposals
from nextbest.settings import Settings
from nextbest.switches import switched

AT = datetime(2026, 3, 2, tzinfo=UTC)


def test_what_was_proposed_is_read_again(tmp_path: Path) -> None:
    """As it was; before anything was, there is nothing."""
    path = tmp_path / "identity" / "proposals.json"
    proposals = Proposals(0.9, (Proposal("a", "b", 0.97, 5.0, (Contribution("surname", "the same", 5.0),)),))
    assert read_proposals(path) is None
    write_proposals(path, proposals)
    assert read_proposals(path) == proposals


def test_verdicts_are_read_from_every_day_of_the_log(tmp_path: Path) -> None:
    """The last word on each pair, among entries about other things."""
    with closing(open_log(Settings(home=tmp_path))) as log:
        assert not read_verdicts(log)
        log.append_sync([link("a", "b", AT, by="splink", probability=0.99), switched("pause", "x", "p1", AT)])
        log.append_sync([link("a", "c", AT, by="review"), unlink("b", "a", AT + timedelta(days=3), by="review")])
        assert read_verdicts(log) == {("a", "b"): "split", ("a", "c"): "linked"}


def test_who_was_erased_is_read_with_all_names(tmp_path: Path) -> None:
    """Entries about other things name nobody who was."""
    with closing(open_log(Settings(home=tmp_path))) as log:
        assert not read_erased(log)
        log.append_sync([link("a", "b", AT, by="review"), erasure("erasure/1", "c", AT, ["c", "d"])])
        assert read_erased(log) == {"c", "d"}
