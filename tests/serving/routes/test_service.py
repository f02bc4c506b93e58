"""What the server says of itself."""

import asyncio
import shutil
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.contracts import Contract
from nextbest.following import step
from nextbest.intake import envelope
from nextbest.settings import Settings
from serving import docs
from serving.metrics import METRICS

Ask = Callable[..., httpx.Response]
Decide = Callable[..., dict[str, Any]]
Publish = Callable[[Settings, float], str]


def metrics(ask: Ask) -> dict[tuple[str, ...], float]:
    """Every sample that counts, by its name and its labels' values in the order of the labels' names."""
    families = text_string_to_metric_families(ask("GET", "/metrics").text)
    return {
        (s.name, *(v for _, v in sorted(s.labels.items()))): s.value
        for f in families
        for s in f.samples
        if not s.name.endswith("bucket")
    }


def test_metrics_tell_what_was_decided(ask: Ask, decide: Decide, settings: Settings, publish: Publish) -> None:
    """Decisions by mode and tier, slots by action, what caps kept out, why one is less, and how long it took."""
    publish(settings, 0.1)
    for name in ("r1", "r2", "r3", "r3"):  # what is asked twice is decided once
        decide(request_id=name)
    decide("stranger", dry_run=True)
    found = metrics(ask)
    assert found["nextbest_decisions_total", "live", "full"] == 3
    assert found["nextbest_decisions_total", "dry_run", "fallback"] == 1
    assert found["nextbest_slots_total", "beef", "", "home_banner", "full"] == 2
    assert found["nextbest_slots_total", "milk", "", "home_banner", "full"] == 1
    assert found["nextbest_cap_rejections_total", "beef_twice"] == 1
    assert found["nextbest_degraded_total", "unknown_customer"] == 1
    assert found["nextbest_requests_total", "decide", "200"] == 5
    assert found["nextbest_stage_seconds_count", "reserve"] == 4
    assert 0 < found["nextbest_request_seconds_sum", "decide"] < 60


def test_every_metric_is_exposed_with_its_meaning(ask: Ask) -> None:
    """Whether or not anything was counted."""
    described = {f.name: f.documentation for f in text_string_to_metric_families(ask("GET", "/metrics").text)}
    assert described == {name: meaning for name, (meaning, _) in METRICS.items()}


def test_the_page_about_the_api_needs_no_internet(ask: Ask) -> None:
    """All it loads comes from here, and its policy lets it load nothing else."""
    page = ask("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text.replace("http://test", "")
    assert "https://" not in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name, media_type in docs.FILES.items():
        file = ask("GET", f"/docs/{name}")
        assert (file.status_code, file.headers["content-type"].partition(";")[0]) == (200, media_type)
    assert ask("GET", "/docs/other.js").status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/v1/nothing", "/v1/customers/c1/consents", "/docs/start.js"])
def test_every_answer_tells_browsers_to_be_careful(ask: Ask, path: str) -> None:
    """Answers and problems alike."""
    headers = ask("GET", path).headers
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    assert headers["x-frame-options"] == "DENY"
    assert "content-security-policy" in headers


def test_readiness_names_parts_and_no_paths(ask: Ask, settings: Settings) -> None:
    """Where files are is nobody's business outside."""
    for part in ("log", "online"):
        (settings.state / part).parent.mkdir(exist_ok=True)
        shutil.rmtree(settings.state / part)
        (settings.state / part).write_text("a file where the folder should be")
    said = ask("GET", "/readyz")
    assert said.json()["missing"] == {"log": "the event log cannot be used", "state": "State cannot be used"}


def test_readiness_says_what_is_missing(ask: Ask, features: Any, settings: Settings, publish: Publish) -> None:
    """Ready with log, State and features; 503 names the part that is not there. Health is the process's alone."""
    model_set_id = publish(settings, 0.1)
    ready = ask("GET", "/readyz")
    assert (ready.status_code, ready.json()["missing"], ready.json()["model_set_id"]) == (200, {}, model_set_id)
    features.reason = "no registry"
    unready = ask("GET", "/readyz")
    assert (unready.status_code, unready.json()["missing"]) == (503, {"features": "no registry"})
    assert ask("GET", "/healthz").status_code == 200


def test_a_state_far_behind_the_log_is_not_ready(
    ask: Ask, contracts: dict[str, Contract], log: SqliteLog, state: SqliteState, clock: Any
) -> None:
    """Consents that were logged before the server started must be known before it decides."""
    said = {"customer_id": "c1", "purpose": "marketing", "regime": "opt_out", "status": "granted"}
    row = {**said, "occurred_at": clock.now, "source": "live"}
    log.append_sync([envelope(contracts["consents"], row | {"consent_id": f"k{n}"}, clock.now) for n in range(1_001)])
    unready = ask("GET", "/readyz")
    assert unready.json()["missing"] == {"state": "1,001 records of the log are not applied yet"}
    asyncio.run(step(log, state))
    assert ask("GET", "/readyz").status_code == 200
