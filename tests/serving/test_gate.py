"""The gate: who may ask, for what, and how often."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from nextbest.adapters.key_file import KeyFile
from nextbest.keys import Scope
from nextbest.settings import Settings

Ask = Callable[..., httpx.Response]
NOW = datetime(2026, 3, 2, tzinfo=UTC)
OPERATIONS: dict[Scope, tuple[str, str]] = {
    "decide": ("POST", "/v1/decisions"),
    "events": ("POST", "/v1/events"),
    "consents": ("GET", "/v1/customers/c1/consents"),
    "admin": ("GET", "/v1/customers/c1/export"),
    "metrics": ("GET", "/metrics"),
}


def bearer(settings: Settings, *scopes: Scope, rate: int = 0) -> dict[str, str]:
    _, text = KeyFile(settings.api_keys).create("shop", scopes, rate, NOW)
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer nonsense", "Basic c2hvcDo=", "Bearer nb_00000000_" + "0" * 64])
@pytest.mark.parametrize(("method", "path"), OPERATIONS.values())
def test_without_a_key_nothing_is_answered(ask: Ask, method: str, path: str, sent: str) -> None:
    """401, as problem details that say how to get one, and nothing of what was asked."""
    response = ask(method, path, headers={"Authorization": sent})
    assert (response.status_code, response.headers["content-type"]) == (401, "application/problem+json")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert set(response.json()) == {"title", "status", "detail", "type"} - {"type"}


@pytest.mark.parametrize(("scope", "operation"), OPERATIONS.items())
def test_a_key_is_good_for_its_scopes_alone(
    ask: Ask, settings: Settings, scope: Scope, operation: tuple[str, str]
) -> None:
    """403 for anything else; with the scope the request goes on, here to a body that is missing."""
    others: list[Scope] = [each for each in OPERATIONS if each != scope]
    assert ask(*operation, headers=bearer(settings, *others)).status_code == 403
    assert ask(*operation, headers=bearer(settings, scope)).status_code in {200, 400}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/start.js"])
def test_health_and_description_need_no_key(ask: Ask, path: str) -> None:
    """Whoever watches the server, or wants to know how to ask, has none."""
    assert ask("GET", path, headers={"Authorization": ""}).status_code in {200, 503}


def test_a_revoked_key_is_refused_at_once(ask: Ask, settings: Settings) -> None:
    """The next request with it is the first that fails."""
    headers = bearer(settings, "consents")
    assert ask("GET", "/v1/customers/c1/consents", headers=headers).status_code == 200
    for key_id in KeyFile(settings.api_keys).read():
        KeyFile(settings.api_keys).revoke(key_id)
    assert ask("GET", "/v1/customers/c1/consents", headers=headers).status_code == 401


def test_too_many_requests_are_told_when_to_come_again(ask: Ask, settings: Settings) -> None:
    """429 with Retry-After in whole seconds; other keys are not concerned."""
    slow, other = bearer(settings, "consents", rate=2), bearer(settings, "consents", rate=2)
    path = "/v1/customers/c1/consents"
    answers = [ask("GET", path, headers=slow) for _ in range(10)]
    refused = [each for each in answers if each.status_code == 429]
    assert refused
    assert {(each.headers["retry-after"], each.headers["content-type"]) for each in refused} == {
        ("1", "application/problem+json")
    }
    assert ask("GET", path, headers=other).status_code == 200


def test_no_answer_and_no_log_names_a_key(ask: Ask, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the one that was sent nor those there are."""
    with caplog.at_level("DEBUG"):
        headers = bearer(settings, "decide")
        secret = headers["Authorization"].rsplit("_", 1)[1]
        answers: list[Any] = [ask(*operation, headers=headers) for operation in OPERATIONS.values()]
    assert secret not in caplog.text + "".join(each.text + str(each.headers) for each in answers)
