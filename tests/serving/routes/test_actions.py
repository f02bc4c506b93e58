"""The kill switch over HTTP."""

import shutil
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.settings import Settings

Ask = Callable[..., httpx.Response]
Decide = Callable[..., dict[str, Any]]
Publish = Callable[[Settings, float], str]


def test_a_paused_action_is_not_decided_until_it_is_resumed(  # noqa: PLR0917  what it looks at
    ask: Ask, decide: Decide, settings: Settings, publish: Publish, log: SqliteLog, clock: Any
) -> None:
    """It binds the next decision, says whether anything changed, and keeps the reason in the log."""
    publish(settings, 0.1)
    paused = [ask("POST", "/v1/actions/beef/pause", json={"reason": "recalled"}).json() for _ in range(2)]
    assert [each["changed"] for each in paused] == [True, False]
    assert decide()["placements"][0]["slots"][0]["action"] == "milk"
    clock.now = clock.now.replace(minute=1)
    assert ask("POST", "/v1/actions/beef/resume", json={}).json() == {
        "action": "beef",
        "is_paused": False,
        "changed": True,
    }
    assert decide()["placements"][0]["slots"][0]["action"] == "beef"
    assert log.read_sync(0, 1)[0][1].properties == {"reason": "recalled"}


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/json"}])
def test_a_switch_needs_no_reason(ask: Ask, headers: dict[str, str]) -> None:
    """Who is in a hurry sends no body at all; what is there must be one."""
    for switch in ("pause", "resume"):
        answer = ask("POST", f"/v1/actions/beef/{switch}", headers=headers)
        assert (answer.status_code, answer.json()["is_paused"]) == (200, switch == "pause")
    assert ask("POST", "/v1/actions/beef/pause", content=b"{").status_code == 400
    description = ask("GET", "/openapi.json").json()["paths"]["/v1/actions/{action}/pause"]["post"]
    assert description["requestBody"]["required"] is False


def test_an_action_that_the_policy_has_not_is_not_found(ask: Ask, log: SqliteLog) -> None:
    """404, which says what was asked for, and what was probably meant or is there; and nothing in the log."""
    for name, said in (("moon", "'moon': there is beef, milk"), ("beeef", "'beeef'; did you mean 'beef'?")):
        answer = ask("POST", f"/v1/actions/{name}/pause", json={})
        assert (answer.status_code, answer.json()["detail"]) == (404, f"the policy has no action {said}")
    assert log.read_sync(0, 10) == []


def test_a_switch_is_logged_although_state_is_down(ask: Ask, settings: Settings, log: SqliteLog) -> None:
    """503, and it binds once the event processor has brought it into State: a recall does not wait for that."""
    shutil.rmtree(settings.state / "online")
    (settings.state / "online").write_text("a file where the folder should be")
    response = ask("POST", "/v1/actions/beef/pause", json={})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert [entry.type for _, entry in log.read_sync(0, 10)] == ["pause"]
