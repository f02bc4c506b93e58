"""`nextbest identity`: what waits is shown with its reasons, and a person's word is in the log."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nextbest.adapters.link_files import read_verdicts, write_proposals
from nextbest.adapters.logs import open_log
from nextbest.adapters.states import open_state
from nextbest.commands.identity import identity
from nextbest.envelope import Envelope
from nextbest.erasure import erasure
from nextbest.identity import link
from nextbest.links import Contribution, Proposal, Proposals
from nextbest.settings import Settings

AT = datetime(2026, 3, 2, tzinfo=UTC)
REASONS = (Contribution("prior", "any two records", -9.0), Contribution("surname", "nearly the same", 9.6))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home in which two pairs were proposed, neither of them sure."""
    settings = Settings(home=tmp_path)
    pairs = (("439", "web-1"), 0.8), (("7", "8"), 0.6)
    proposals = tuple(Proposal(*pair, probability, 0.6, REASONS) for pair, probability in pairs)
    write_proposals(settings.proposed_links, Proposals(0.95, proposals))
    return settings


def _use(settings: Settings, *arguments: str) -> Result:
    return CliRunner(env={"NEXTBEST_HOME": str(settings.home), "COLUMNS": "200"}).invoke(identity, arguments)


def _log(settings: Settings) -> list[Envelope]:
    with closing(open_log(settings)) as log:
        return [entry for _, entry in log.read_sync(0, 10)]


def test_what_waits_is_shown_with_its_reasons(settings: Settings) -> None:
    """The most probable first, and as many as were asked for."""
    all_of_it, one = _use(settings, "review").output, _use(settings, "review", "--limit", "1").output
    assert all_of_it.index("web-1") < all_of_it.index("60.0%")
    assert "80.0%" in all_of_it
    assert "surname nearly the same +9.6" in all_of_it
    assert "2 wait: " in all_of_it
    assert "60.0%" not in one


def test_a_persons_word_is_in_the_log(settings: Settings) -> None:
    """Whichever is named first, with who said it and how probable the model found it; what is decided waits no more."""
    assert _use(settings, "link", "web-1", "439", "--by", "ann").output.startswith("web-1 and 439 are one person")
    assert _use(settings, "split", "7", "8").output.startswith("7 and 8 are two people")
    linked, split = _log(settings)
    assert (linked.type, linked.properties["by"], linked.properties["probability"]) == ("link", "ann", 0.8)
    assert (split.type, split.properties["by"]) == ("unlink", "review")
    assert _use(settings, "review").output == "nothing waits for review\n"


def test_who_was_erased_waits_no_more(settings: Settings) -> None:
    """Whatever the proposals of the last run say."""
    with closing(open_log(settings)) as log:
        log.append_sync([erasure("erasure/1", "0", AT, ["0", "web-1"])])
    said = _use(settings, "review").output
    assert "1 wait: " in said
    assert "web-1" not in said


def test_a_link_can_be_taken_back_and_made_again(settings: Settings) -> None:
    """Also between customers of whom nothing was proposed: the last word holds."""
    for word in ("link", "split", "link"):
        assert _use(settings, word, "a", "b").exit_code == 0
    with closing(open_log(settings)) as log:
        assert read_verdicts(log) == {("a", "b"): "linked"}


def test_what_else_joins_two_is_said(settings: Settings) -> None:
    """An identifier that both have goes on joining them: the command names it, and what ends that."""
    mail = f"email:{'ab' * 32}"
    words = [link(name, mail, AT, by="review") for name in ("439", "web-1")]
    with closing(open_state(settings)) as state:
        asyncio.run(state.apply(words, None))
        said = _use(settings, "split", "439", "web-1").output
        assert f"but {mail} may join them still: `nextbest identity split web-1 {mail}` ends that" in said
        assert _use(settings, "split", "web-1", mail).exit_code == 0
        asyncio.run(state.apply(_log(settings), None))
        assert asyncio.run(state.members(["439", "web-1"])) == {"439": ("439", mail), "web-1": ("web-1",)}


@pytest.mark.parametrize("word", ["link", "split"])
def test_one_customer_is_no_pair(settings: Settings, word: str) -> None:
    """A slip of the finger is told, and nothing is logged."""
    result = _use(settings, word, "439", "439")
    assert result.exit_code == 1
    assert "it takes two customers" in str(result.exception)
    assert not settings.event_log.exists()


@pytest.mark.parametrize("name", ["", ".", "x" * 201, "nokind:" + "ab" * 32, "email:jo@example.com", "\udcff"])
def test_what_no_row_and_no_request_may_be_called_by_is_no_name(settings: Settings, name: str) -> None:
    """Else the customer would go by it from then on, and be found by nobody."""
    result = _use(settings, "link", "439", "--", name)
    assert (result.exit_code, "names nobody" in str(result.exception)) == (1, True)
    assert not settings.event_log.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_proposals_that_cannot_be_read_keep_nobody_from_saying(settings: Settings, content: bytes) -> None:
    """Whoever asks for them hears what makes them anew."""
    settings.proposed_links.write_bytes(content)
    assert "`nextbest pipeline` makes it anew" in str(_use(settings, "review").exception)
    assert _use(settings, "link", "439", "web-1").exit_code == 0
    assert "probability" not in _log(settings)[0].properties


def test_a_home_without_proposals_says_what_makes_them(tmp_path: Path) -> None:
    """Nothing is opened or made by looking."""
    result = _use(Settings(home=tmp_path), "review")
    assert "nextbest pipeline" in str(result.exception)
    assert not (tmp_path / ".nextbest").exists()
