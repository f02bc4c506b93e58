"""What is Redis' own of a State: a server that is down, forgets its scripts, is read only, or is killed."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nextbest.adapters.redis_state import RedisState
from nextbest.envelope import Envelope, Identifier
from nextbest.erasure import erasure
from nextbest.identity import unlink
from nextbest.messages import Limit, Option, PlacementProposal, Proposal
from nextbest.records import DO_NOTHING, DecisionRecord
from nextbest.state import SnapshotScope, StateBehindError, StateUnavailableError

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCOPE = SnapshotScope(NOW - timedelta(days=1), NOW - timedelta(days=1))
TTL = timedelta(hours=1)
PATIENCE_S = 2.0

Server = Any
"""`RedisServer` of the folder's conftest, which no test module can import."""


@pytest.fixture
def server(redis_server: Server) -> Iterator[Server]:
    """Running when the test ends, whatever it did."""
    redis_server.command("FLUSHDB")
    yield redis_server
    redis_server.kill()
    redis_server.start()


def hmac_of(number: int) -> str:
    return f"{number:064x}"


def link(number: int) -> Envelope:
    return Envelope(
        event_id=f"i{number}",
        type="identity",
        contract="identities",
        contract_version="1.0.0",
        source="live",
        occurred_at=NOW,
        received_at=NOW,
        partition_key="c",
        properties={"kind": "email", "identifier_hmac": hmac_of(number), "customer_id": f"c{number}"},
    )


def proposal(decision_id: str, customer_id: str | None) -> Proposal:
    """Of an action that may be held once."""
    limits = (Limit("volume", "total", 1, 1),)
    order = (
        Option(key="eggs", action="eggs", treatment="", group="", limits=limits),
        Option(key=DO_NOTHING, action=DO_NOTHING, treatment="", group=""),
    )
    placement = PlacementProposal(id="home", channel="web", slots=1, order=order, pmf=(0.5, 0.5))
    record = DecisionRecord(
        decision_id=decision_id, request_id=decision_id, occurred_at=NOW, customer_id=customer_id, policy_hash="p"
    )
    seconds = int(TTL.total_seconds())
    return Proposal(record=record, placements=(placement,), dedup=True, reserves=True, ttl_seconds=seconds)


CALLS: list[Callable[[RedisState], Any]] = [
    lambda state: state.customer_of([Identifier(kind="email", hmac=hmac_of(1))]),
    lambda state: state.snapshot("c1", SCOPE),
    lambda state: state.commit("d1", 0, "e1", NOW),
    lambda state: state.release("d1", 0),
    lambda state: state.apply([link(1)], 1),
    lambda state: state.overruns(),
    lambda state: state.rewind(),
    lambda state: state.applied_offset(),
    lambda state: state.is_caught_up(),
    lambda state: state.clear(),
    lambda state: state.publish_model_set("m1"),
    lambda state: state.current_model_set(),
]


def test_a_server_that_is_down_is_an_error_of_its_own(server: Server) -> None:
    """Every call raises what serving falls back on, and works again when the server does."""
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        asyncio.run(state.publish_model_set("m1"))
        server.kill()
        for call in CALLS:
            with pytest.raises(StateUnavailableError, match="State cannot be used"):
                asyncio.run(call(state))
        server.start()
        assert asyncio.run(state.current_model_set()) == "m1"


def test_a_server_that_was_emptied_says_so(server: Server) -> None:
    """It is not taken for one that never heard a word."""
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        asyncio.run(state.apply([link(1)], 1, "log", is_end=True))
        asyncio.run(state.snapshot("c1", SCOPE, "log"))
        server.command("FLUSHDB")
        with pytest.raises(StateBehindError):
            asyncio.run(state.snapshot("c1", SCOPE, "log"))


def test_what_others_keep_on_the_server_is_left_when_state_is_cleared(server: Server) -> None:
    """The online features, and the note that they are there."""
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        server.command("SET", "nextbest:online_features", "v1")
        server.command("HSET", "customer:c1", "spend", "1")
        asyncio.run(state.publish_policy("p"))
        asyncio.run(state.apply([link(1)], 1, "log", is_end=True))
        asyncio.run(state.clear())
    assert server.keys() == {"nextbest:online_features", "customer:c1", "nextbest:facts"}


def test_a_server_that_does_not_answer_is_given_up(server: Server) -> None:
    """Paused for a minute, it would answer then; the call fails before."""
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        server.command("CLIENT", "PAUSE", "60000")
        with pytest.raises(StateUnavailableError):
            asyncio.run(state.snapshot("c1", SCOPE))


@pytest.mark.parametrize("option", [("maxmemory", "1"), ("min-replicas-to-write", "1")])
def test_a_server_that_takes_no_writes_is_an_error_of_its_own(server: Server, option: tuple[str, str]) -> None:
    """Full or without its replicas: nothing of the call takes effect, and what is there can still be read."""
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        asyncio.run(state.apply([link(1)], 1))
        server.command("CONFIG", "SET", *option)
        with pytest.raises(StateUnavailableError):
            asyncio.run(state.apply([link(2)], 2))
        assert asyncio.run(state.applied_offset()) == 1
        assert asyncio.run(state.snapshot("c1", SCOPE)).contacts == ()


def test_scripts_that_the_server_forgot_are_sent_again(server: Server) -> None:
    """A restart or SCRIPT FLUSH empties its cache of them."""
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        for offset in (1, 2):
            asyncio.run(state.apply([link(offset)], offset))
            server.command("SCRIPT", "FLUSH")
        assert asyncio.run(state.applied_offset()) == 2


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_a_killed_server_comes_back_with_offset_and_effects_alike(server: Server, appendfsync: str) -> None:
    """Killed amid a stream of calls. Only `always` holds an answer back until what it acknowledges is in the file."""
    server.command("CONFIG", "SET", "appendfsync", appendfsync)
    with closing(RedisState(server.url, PATIENCE_S)) as state:

        async def write() -> int:
            for number in range(1, 100_000):
                try:
                    await state.apply([link(number)], number)
                except StateUnavailableError:
                    return number - 1
            raise AssertionError("the server was not killed")

        async def write_until_killed() -> int:
            writing = asyncio.create_task(write())
            while await state.applied_offset() < 50:
                pass
            server.kill()
            return await writing

        acknowledged = asyncio.run(write_until_killed())
        server.start()
        applied = asyncio.run(state.applied_offset())
        assert applied <= acknowledged + 1
        if appendfsync == "always":
            assert applied >= acknowledged
        last = [Identifier(kind="email", hmac=hmac_of(number)) for number in (applied, applied + 1)]
        assert [asyncio.run(state.customer_of([each])) for each in last] == [
            f"c{applied}",
            f"email:{hmac_of(applied + 1)}",
        ]


def nothing_between(_state: RedisState) -> None: ...


def another_takes_the_last(state: RedisState) -> None:
    asyncio.run(state.reserve(proposal("d2", "c2"), NOW))


def the_first_try_expires(state: RedisState) -> None:
    asyncio.run(state.reserve(proposal("d2", None), NOW + TTL))


def the_first_try_is_seen(state: RedisState) -> None:
    asyncio.run(state.commit("d1", 0, "e1", NOW))


@pytest.mark.parametrize(
    ("tried", "between", "granted", "reads"),
    [
        (False, nothing_between, "eggs", 1),
        (False, another_takes_the_last, DO_NOTHING, 2),
        (True, nothing_between, "eggs", 1),
        (True, the_first_try_expires, DO_NOTHING, 2),
        (True, the_first_try_is_seen, DO_NOTHING, 2),
    ],
)
def test_what_changes_between_reading_and_writing_is_read_again(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    *,
    tried: bool,
    between: Callable[[RedisState], None],
    granted: str,
    reads: int,
) -> None:
    """A reservation rests on what it read: where that is no longer so it is made anew, and the last one is had once."""
    count = 0

    def changed(state: RedisState) -> None:
        nonlocal count
        count += 1
        if count == 1:
            between(state)

    with closing(RedisState(server.url, PATIENCE_S)) as state, closing(RedisState(server.url, PATIENCE_S)) as other:
        if tried:
            asyncio.run(state.reserve(proposal("d1", "c1"), NOW))
        _after_each_read(monkeypatch, state, lambda: changed(other))
        (slot,) = asyncio.run(state.reserve(proposal("d1", "c1"), NOW)).placements["home"]
    assert (slot.key, count) == (granted, reads)


def test_what_is_released_may_have_been_reserved_just_now(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contact that was not there when it was read is given back all the same."""
    with closing(RedisState(server.url, PATIENCE_S)) as state, closing(RedisState(server.url, PATIENCE_S)) as other:
        _after_each_read(monkeypatch, state, lambda: asyncio.run(other.reserve(proposal("d1", "c1"), NOW)))
        asyncio.run(state.release("d1", 0))
        assert asyncio.run(other.snapshot(None, SnapshotScope(NOW, NOW, ("volume@total",)))).usage == {}


def test_who_is_tied_while_they_are_forgotten_is_untied(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However early another server says so: nothing is left that names them."""
    said = [link(1)]
    with closing(RedisState(server.url, PATIENCE_S)) as state, closing(RedisState(server.url, PATIENCE_S)) as other:
        _after_each_read(
            monkeypatch, state, lambda: said and asyncio.run(other.apply([said.pop()], None)), read="neighbours"
        )
        asyncio.run(state.apply([erasure("erasure/1", "c1", NOW, ["c1"])], None))
        assert asyncio.run(other.neighbours(["c1", f"email:{hmac_of(1)}"])) == set()


def test_who_is_tied_waits_only_for_whom_that_touches(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of others meanwhile has nothing read again; what is said of the same names has, and both hold."""
    reads, others = 0, [link(number) for number in range(2, 9)]
    same = [unlink("c20", f"email:{hmac_of(20)}", NOW + timedelta(hours=1), by="me")]
    with closing(RedisState(server.url, PATIENCE_S)) as state, closing(RedisState(server.url, PATIENCE_S)) as other:

        def meanwhile(said: list[Envelope]) -> None:
            nonlocal reads
            reads += 1
            if said:
                asyncio.run(other.apply([said.pop()], None))

        def reads_of(tie: Envelope, said: list[Envelope]) -> int:
            nonlocal reads
            reads = 0
            with monkeypatch.context() as patch:
                _after_each_read(patch, state._graph, lambda: meanwhile(said), read="_nodes")  # noqa: SLF001  its part
                asyncio.run(state.apply([tie], None))
            return reads

        alone = reads_of(link(10), [])
        assert reads_of(link(1), others) == alone
        assert reads_of(link(20), same) > alone
        assert asyncio.run(other.members(["c1", "c20"])) == {"c1": ("c1", f"email:{hmac_of(1)}"), "c20": ("c20",)}


def test_an_erased_customer_is_nowhere_in_the_server(server: Server) -> None:
    """Not even where changes are counted."""
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        asyncio.run(state.reserve(proposal("d1", "c1"), NOW))
        asyncio.run(state.apply([link(1)], None))
        asyncio.run(state.apply([erasure("erasure/1", "c1", NOW, ["c1", f"email:{hmac_of(1)}"])], None))
    kept = str(server.content())
    assert "c1" not in kept
    assert hmac_of(1) not in kept


def test_a_state_of_the_form_before_is_filled_again(server: Server) -> None:
    """It knows nothing of ties: whatever it has of the log is applied anew."""
    server.command("HSET", "nextbest:facts", "log_offset:log", 9, "caught_up:log", 1)
    server.command("HSET", "nextbest:identifiers", f"email:{hmac_of(1)}", "c1")
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        assert asyncio.run(state.applied_offset("log")) == 0
        assert not asyncio.run(state.is_caught_up("log"))
        asyncio.run(state.clear())
    assert server.keys() == {"nextbest:facts"}


def _after_each_read(
    monkeypatch: pytest.MonkeyPatch, reader: object, job: Callable[[], object], *, read: str = "_read"
) -> None:
    """Have `job` done whenever `reader`, which is State or part of it, has read, before it writes."""
    found = getattr(reader, read)

    async def slowly(asked: Any) -> Any:
        reply = await found(asked)
        await asyncio.to_thread(job)
        return reply

    monkeypatch.setattr(reader, read, slowly)


def test_every_key_is_below_one_prefix(server: Server) -> None:
    """A server may be shared with somebody else."""
    with closing(RedisState(server.url, PATIENCE_S)) as state:
        asyncio.run(state.apply([link(1)], 1))
        asyncio.run(state.publish_model_set("m1"))
    ties = {f"nextbest:ties:{name}" for name in ("c1", f"email:{hmac_of(1)}")}
    kept = {f"nextbest:{key}" for key in ("facts", "members", "group:c1", "nodes", "versions")}
    assert server.keys() == ties | kept


def test_calls_come_from_any_event_loop_at_once(server: Server) -> None:
    """More calls than connections wait for one another, and none fails."""
    with closing(RedisState(server.url, 10.0)) as state:

        async def many() -> list[None]:
            return await asyncio.gather(*(state.apply([link(number)], None) for number in range(200)))

        asyncio.run(many())
        assert asyncio.run(state.customer_of([Identifier(kind="email", hmac=hmac_of(199))])) == "c199"
