"""A customer's own rights: to see, to change, to have, and to be forgotten."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from nextbest import records
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.envelope import Envelope
from nextbest.erasure import erasure
from nextbest.following import step
from nextbest.identity import link, unlink
from nextbest.log import Appended, LogUnavailableError, decision_entries
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError

Ask = Callable[..., httpx.Response]
Decide = Callable[..., dict[str, Any]]
Publish = Callable[[Settings, float], str]
HMAC = "ab" * 32
CONSENTS = "/v1/customers/c1/consents"


def tell(log: SqliteLog, state: SqliteState, word: Envelope) -> None:
    """Log it, and bring it into State."""
    asyncio.run(log.append([word]))
    asyncio.run(step(log, state))


def action(answer: dict[str, Any]) -> str:
    name: str = answer["placements"][0]["slots"][0]["action"]
    return name


def test_before_a_word_the_regime_says_what_is_allowed(ask: Ask) -> None:
    """Every purpose of the policy is there, whether or not anything was said."""
    assert ask("GET", CONSENTS).json() == {
        "customer_id": "c1",
        "consents": [{"purpose": "marketing", "regime": "opt_out", "status": None, "is_allowed": True}],
    }


def test_what_the_customer_says_binds_the_next_decision(
    ask: Ask, decide: Decide, settings: Settings, publish: Publish, clock: Any
) -> None:
    """A no stops, a yes after it lets decisions come back; the answer shows what holds now."""
    publish(settings, 0.1)
    assert action(decide()) == "beef"
    said = ask("PUT", CONSENTS, json={"consents": {"marketing": "withdrawn"}})
    assert (said.status_code, said.json()["consents"][0]["is_allowed"]) == (200, False)
    assert action(decide()) == "do_nothing"
    clock.now += timedelta(seconds=1)
    ask("PUT", CONSENTS, json={"consents": {"marketing": "granted"}})
    assert action(decide()) == "beef"


@pytest.mark.usefixtures("linked")
def test_an_identifier_names_its_customer(ask: Ask) -> None:
    """A preference centre knows an address's hash, and no customer id."""
    said = ask("PUT", f"/v1/customers/email:{HMAC}/consents", json={"consents": {"marketing": "withdrawn"}})
    assert said.json()["customer_id"] == "c1"
    assert ask("GET", CONSENTS).json()["consents"][0]["status"] == "withdrawn"
    visitor = f"email:{'cd' * 32}"
    assert ask("GET", f"/v1/customers/{visitor}/consents").json()["customer_id"] == visitor


def test_a_word_stays_with_who_said_it_when_two_are_split(
    ask: Ask, log: SqliteLog, state: SqliteState, clock: Any
) -> None:
    """While two are one the stricter word holds for both; apart each has what was said under their own name."""

    def say(status: str, name: str) -> None:
        clock.now += timedelta(seconds=1)
        ask("PUT", f"/v1/customers/{name}/consents", json={"consents": {"marketing": status}}).raise_for_status()

    def held(name: str) -> Any:
        return ask("GET", f"/v1/customers/{name}/consents").json()["consents"][0]["status"]

    say("withdrawn", "c1")
    tell(log, state, link("c1", "c2", clock.now, by="review"))
    say("granted", "c2")
    assert [held(name) for name in ("c1", "c2")] == ["granted"] * 2
    say("withdrawn", "c3")
    tell(log, state, link("c1", "c3", clock.now, by="review"))
    say("withdrawn", "c2")
    clock.now += timedelta(seconds=1)
    for other in ("c2", "c3"):
        tell(log, state, unlink("c1", other, clock.now, by="review"))
    assert [held(name) for name in ("c1", "c2", "c3")] == ["granted", "withdrawn", "withdrawn"]


def test_an_id_may_have_colons_and_an_address_is_no_id(ask: Ask) -> None:
    """What a person is called by elsewhere must not become the id that their consent is kept under."""
    said = ask("PUT", "/v1/customers/crm:439/consents", json={"consents": {"marketing": "withdrawn"}})
    assert said.json()["customer_id"] == "crm:439"
    refused = ask("PUT", "/v1/customers/email:a@example.org/consents", json={"consents": {"marketing": "withdrawn"}})
    assert (refused.status_code, "64 lower-case hexadecimal digits" in refused.json()["detail"]) == (422, True)
    assert "example.org" not in refused.text


def test_a_purpose_that_the_policy_has_not_is_refused(ask: Ask, log: SqliteLog) -> None:
    """422 names the field; nothing is logged of a request that is wrong in part."""
    refused = ask("PUT", CONSENTS, json={"consents": {"marketing": "granted", "profiling": "granted"}})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/consents/profiling")
    assert log.read_sync(0, 10) == []


@pytest.mark.usefixtures("linked")
def test_an_export_holds_everything(ask: Ask, decide: Decide, settings: Settings, publish: Publish) -> None:
    """State, features and every entry of the log, those under an identifier of the customer included."""
    publish(settings, 0.1)
    decide()
    decide(customer={"kind": "email", "hmac": HMAC})
    ask("PUT", CONSENTS, json={"consents": {"marketing": "granted"}})
    content = ask("GET", "/v1/customers/c1/export").json()
    assert content["identifiers"] == [{"kind": "email", "hmac": HMAC}]
    assert content["features"] == {"c1": {"spend_91d": 12.5}}
    assert content["state"]["consents"] == {"marketing": "granted"}
    assert [each["action"] for each in content["state"]["contacts"]] == ["beef", "beef"]
    assert [each["type"] for each in content["log"]] == ["identity", "decision", "decision", "consent"]


@pytest.mark.usefixtures("linked")
def test_an_erased_customer_is_found_nowhere(  # noqa: PLR0917  everywhere that is looked
    ask: Ask, decide: Decide, settings: Settings, publish: Publish, log: SqliteLog, state: SqliteState
) -> None:
    """The log still adds up; nothing in it says whom it was about, but that somebody of this id was erased."""
    publish(settings, 0.1)
    decision_id = decide(context={"diary": "my secret"})["decision_id"]
    ask("PUT", CONSENTS, json={"consents": {"marketing": "granted"}})
    erased = ask("DELETE", "/v1/customers/c1").json()
    assert erased == {"customer_id": "c1", "log_entries": 3, "features": 1}
    content = ask("GET", "/v1/customers/c1/export").json()
    assert (content["identifiers"], content["features"], content["state"]) == ([], {}, {})
    assert [each["type"] for each in content["log"]] == ["erasure"]
    entries = [entry for _, entry in log.read_sync(0, 10)]
    assert [entry.type for entry in entries] == ["erased", "decision", "erased", "erasure"]
    made = records.decode(entries[1].properties["record"])
    assert (made.customer_id, made.features, made.context, made.learning) == (None, {}, {}, False)
    assert made.placements[0].slots[0].action == "beef"
    assert decide()["degraded"] == ["unknown_customer"]
    gone = ask("GET", f"/v1/decisions/{decision_id}?explain=true")
    assert (gone.status_code, "erased" in gone.json()["detail"]) == (410, True)
    stored = b"".join(path.read_bytes() for path in settings.event_log.parent.iterdir())
    assert b"my secret" not in stored
    asyncio.run(state.clear())
    asyncio.run(step(log, state))
    assert ask("GET", "/v1/customers/c1/export").json()["state"] == {}


@pytest.mark.usefixtures("linked")
@pytest.mark.parametrize("call", ["replace", "append"])
def test_an_erasure_that_was_interrupted_is_finished_by_another(
    ask: Ask, log: SqliteLog, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What is filed under an identifier is found again, since State forgets whose that is at the end."""
    ask("PUT", CONSENTS, json={"consents": {"marketing": "granted"}})

    async def fail(*_arguments: object, **_options: object) -> None:
        raise LogUnavailableError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteLog, call, fail)
        assert ask("DELETE", "/v1/customers/c1").status_code == 503
    assert ask("DELETE", "/v1/customers/c1").status_code == 200
    entries = [entry for _, entry in log.read_sync(0, 10)]
    assert [entry.type for entry in entries] == ["erased", "erased", "erasure"]


def test_of_somebody_with_two_ids_the_features_of_both_are_exported_and_forgotten(  # noqa: PLR0917  all it touches
    ask: Ask, log: SqliteLog, state: SqliteState, features: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store failed midway, State still knows the second id when the erasure is done again."""
    tell(log, state, link("c1", "c2", clock.now, by="review"))
    known = {"spend_91d": 12.5}
    assert ask("GET", "/v1/customers/c2/export").json()["features"] == {"c1": known, "c2": known}

    async def fail(_name: str) -> int:
        raise StateUnavailableError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(features, "forget", fail)
        assert ask("DELETE", "/v1/customers/c1").status_code == 503
    assert ask("DELETE", "/v1/customers/c1").json()["features"] == 2
    assert features.forgotten >= {"c1", "c2"}


def test_an_erasure_that_the_log_has_is_finished_though_state_forgot(
    ask: Ask, log: SqliteLog, state: SqliteState, features: Any, clock: Any
) -> None:
    """By the names in the earlier entry; what was said since under one of them is of somebody new."""
    ask("PUT", "/v1/customers/c2/consents", json={"consents": {"marketing": "withdrawn"}})
    tell(log, state, erasure("erasure/1", "c1", clock.now, ["c1", "c2", "c3"]))
    ask("PUT", "/v1/customers/c3/consents", json={"consents": {"marketing": "withdrawn"}})
    ask("DELETE", "/v1/customers/c1").raise_for_status()
    assert [entry.type for _, entry in log.read_sync(0, 10)] == ["erased", "erasure", "consent", "erasure"]
    assert features.forgotten >= {"c1", "c2"}
    assert "c3" not in features.forgotten


@pytest.mark.usefixtures("linked")
def test_a_login_during_an_erasure_is_erased_too(
    ask: Ask, log: SqliteLog, state: SqliteState, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is filed under an identifier that was not the customer's when the erasure began."""
    append, other = SqliteLog.append, f"email:{'cd' * 32}"

    async def after_a_login(log: SqliteLog, records: Sequence[Envelope], **options: bool) -> Appended:
        login = link("c1", other, clock.now, by="login")
        await append(log, [msgspec.structs.replace(login, partition_key=other)])
        await step(log, state)
        return await append(log, records, **options)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteLog, "append", after_a_login)
        ask("DELETE", "/v1/customers/c1").raise_for_status()
    assert [entry.type for _, entry in log.read_sync(0, 10)] == ["erased", "erased", "erasure"]


def test_visits_beyond_the_newest_fifty_are_exported_and_erased(
    ask: Ask, log: SqliteLog, state: SqliteState, clock: Any
) -> None:
    """State counts but the newest identifiers; what was said under the oldest is the customer's all the same."""
    visits = [f"anonymous_id:{number:064x}" for number in range(52)]
    ask("PUT", f"/v1/customers/{visits[0]}/consents", json={"consents": {"marketing": "withdrawn"}})
    for minute, visit in enumerate(visits):
        tell(log, state, link("c1", visit, clock.now + timedelta(minutes=minute), by="login"))
    content = ask("GET", "/v1/customers/c1/export").json()
    assert len(content["identifiers"]) == len(visits)
    assert [each["type"] for each in content["log"]].count("consent") == 1
    ask("DELETE", "/v1/customers/c1").raise_for_status()
    assert {entry.type for _, entry in log.read_sync(0, 100)} == {"erased", "erasure"}
    assert ask("GET", f"/v1/customers/{visits[0]}/consents").json()["consents"][0]["status"] is None


def test_a_decision_for_whom_they_were_one_with_forgets_them(  # noqa: PLR0917  all it touches
    ask: Ask, decide: Decide, settings: Settings, publish: Publish, log: SqliteLog, state: SqliteState, clock: Any
) -> None:
    """Joined over an identifier and split since; the day on which the decision was logged lands again without them."""
    publish(settings, 0.1)
    email = f"email:{HMAC}"
    for name in ("c1", "c2"):
        tell(log, state, link(name, email, clock.now, by="login"))
    decision_id = decide()["decision_id"]
    (landed,) = log.arrived_sync("decisions")
    clock.now += timedelta(seconds=1)
    tell(log, state, unlink("c2", email, clock.now, by="review"))
    ask("DELETE", "/v1/customers/c2").raise_for_status()
    (entry,) = asyncio.run(decision_entries(log, decision_id))
    made = records.decode(entry.properties["record"])
    assert (made.customer_id, made.snapshot, made.features) == ("c1", records.Snapshot(), {})
    assert log.arrived_sync("decisions") != [landed]


def test_a_name_that_is_too_long_is_nobodys(ask: Ask) -> None:
    """422, before anything looks for it."""
    assert ask("GET", f"/v1/customers/{'c' * 201}/consents").status_code == 422


def test_a_log_that_is_down_says_nothing_was_changed(ask: Ask, settings: Settings) -> None:
    """503 with Retry-After, and no path of the server."""
    settings.state.mkdir(exist_ok=True)
    shutil.rmtree(settings.state / "log")
    (settings.state / "log").write_text("a file where the folder should be")
    response = ask("PUT", CONSENTS, json={"consents": {"marketing": "withdrawn"}})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert str(settings.home) not in response.text
    assert ask("DELETE", "/v1/customers/c1").status_code == 503
