"""Policies, shadows and deadlines on the decision path: what is published decides, and nothing half-edited does."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import msgspec
import pytest
import yaml
from click.testing import CliRunner

from nextbest import records
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.policy_files import PolicyError
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.commands.policy import policy
from nextbest.envelope import Envelope
from nextbest.records import DecisionRecord
from nextbest.replay import replay
from nextbest.settings import Settings
from nextbest.state import SnapshotScope
from serving.model_sets import ModelSets
from serving.policies import Policies

Publish = Callable[[Settings, float], str]


def decide(client: Any, **options: Any) -> dict[str, Any]:
    async def send() -> httpx.Response:
        async with client() as connected:
            body = {"customer": {"customer_id": "c1"}, "placements": ["home_banner"], "limit": 1, **options}
            response: httpx.Response = await connected.post("/v1/decisions", content=msgspec.json.encode(body))
            return response

    response = asyncio.run(send())
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def edit(settings: Settings, name: str, **changes: Any) -> None:
    """Change a file of the policy as a person would, and no more."""
    path = settings.home / "policies" / f"{name}.yaml"
    content = yaml.safe_load(path.read_text()) if path.exists() else {}
    path.write_text(yaml.safe_dump(content | changes))


def publish_policy(settings: Settings, state: SqliteState) -> str:
    name = read_and_archive(settings.folder("policies"), settings.policies_archive).hash
    asyncio.run(state.publish_policy(name))
    return name


def logged(log: SqliteLog) -> list[DecisionRecord]:
    entries: list[Envelope] = [entry for _, entry in log.read_sync(0, 100) if entry.slot == 0]
    return [records.decode(entry.properties["record"]) for entry in entries]


def test_what_is_published_decides(client: Any, settings: Settings, publish: Publish, state: SqliteState) -> None:
    """An edit changes nothing until it is published; then the next look of every replica has it."""
    publish(settings, 0.05)
    before = publish_policy(settings, state)
    assert decide(client)["placements"][0]["slots"][0]["action"] == "beef"
    edit(settings, "arbitration", do_nothing_threshold=0.9)
    assert decide(client)["policy_hash"] == before
    after = publish_policy(settings, state)
    answer = decide(client)
    assert answer["policy_hash"] == after != before
    assert answer["placements"][0]["slots"][0]["action"] == "do_nothing"


def test_nothing_half_loaded_goes_live(
    client: Any, settings: Settings, publish: Publish, state: SqliteState, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake in one file keeps all of them from being published; a damaged archive keeps the last good policy."""
    publish(settings, 0.05)
    before = publish_policy(settings, state)
    edit(settings, "arbitration", do_nothing_threshold=0.9)
    edit(settings, "placements", channels=[])
    with pytest.raises(PolicyError):
        publish_policy(settings, state)
    assert decide(client)["policy_hash"] == before

    async def follow() -> str:
        policies = Policies(settings.policies_archive, state)
        await policies.start()
        (settings.policies_archive / "0123456789abcdef.json").write_text("{}")
        await state.publish_policy("0123456789abcdef")
        await policies.update()
        await policies.update()
        assert policies.current is not None
        return policies.current.policy.hash

    assert asyncio.run(follow()) == before
    assert caplog.text.count("policy 0123456789abcdef is refused") == 1


def test_a_policy_that_comes_late_is_used(
    settings: Settings, state: SqliteState, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State may name a policy before the file is there, or can be opened: it is refused once, and used later."""
    before = publish_policy(settings, state)
    edit(settings, "arbitration", do_nothing_threshold=0.9)
    after = publish_policy(settings, state)
    late = settings.policies_archive / f"{after}.json"
    content = late.read_bytes()
    late.unlink()
    monkeypatch.setattr("serving.followed._AGAIN_S", 0.0)

    async def follow() -> list[str]:
        policies = Policies(settings.policies_archive, state)

        async def hash_in_use() -> str:
            await policies.update()
            assert policies.current is not None
            return policies.current.policy.hash

        await policies.start()
        refused = [await hash_in_use() for _ in range(2)]
        late.write_bytes(content)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", Mock(side_effect=ValueError("no such luck")))
            refused.append(await hash_in_use())
        return [*refused, await hash_in_use()]

    assert asyncio.run(follow()) == [before, before, before, after]
    assert caplog.text.count("is refused") == 1


def test_publish_checks_and_says_what_decides(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command publishes what has no mistake, and says what decided before."""
    monkeypatch.setenv("NEXTBEST_HOME", str(settings.home))
    first = CliRunner().invoke(policy, ["publish"])
    again = CliRunner().invoke(policy, ["publish"])
    assert first.exit_code == 0, first.output
    assert again.output.endswith(" decides as before\n")
    edit(settings, "arbitration", salt="other")
    assert ", after " in CliRunner().invoke(policy, ["publish"]).output
    edit(settings, "arbitration", salt="")
    assert isinstance(CliRunner().invoke(policy, ["publish"]).exception, PolicyError)


def test_a_shadow_decides_beside_and_never_acts(
    client: Any, settings: Settings, publish: Publish, state: SqliteState, log: SqliteLog
) -> None:
    """What a shadow would have done is in the log under an id of its own; no contact counts from it."""
    publish(settings, 0.05)
    shadow = {"id": "careful", "changes": {"do_nothing_threshold": 0.9}}
    edit(settings, "experiments", shadows=[shadow])
    publish_policy(settings, state)
    answer = decide(client)
    live, beside = logged(log)
    assert live.decision_id == answer["decision_id"]
    assert (beside.decision_id, beside.mode, beside.shadow) == (f"{live.decision_id}.careful", "shadow", "careful")
    assert [record.placements[0].slots[0].action for record in (live, beside)] == ["beef", "do_nothing"]
    assert (live.learning, beside.learning) == (True, False)
    now = live.occurred_at
    contacts = asyncio.run(state.snapshot("c1", SnapshotScope(now.replace(year=2025), now))).contacts
    assert [contact.decision_id for contact in contacts] == [live.decision_id]
    models, policies = ModelSets(settings.bundles, state), Policies(settings.policies_archive, state)
    asyncio.run(models.start())
    asyncio.run(policies.start())
    assert policies.current is not None
    for record in (live, beside):
        assert replay(record, policies.current.policy, models.current) == record
    assert decide(client, dry_run=True)["mode"] == "dry_run"
    assert len(logged(log)) == 3  # only what acts has shadows


def test_a_late_part_makes_the_decision_a_fallback(
    client: Any, features: Any, settings: Settings, publish: Publish, log: SqliteLog
) -> None:
    """Within its budget a decision is complete; where features are late, it is the fallback, in time."""
    publish(settings, 0.05)
    assert decide(client, budget_ms=10_000)["tier"] == "full"
    features.delay_s = 60.0
    answer = decide(client, budget_ms=1_000)
    assert (answer["tier"], answer["degraded"], answer["logged"]) == ("fallback", ["features_slow"], True)
    assert len(logged(log)) == 2


def test_decisions_of_one_page_do_not_repeat_one_another(client: Any, settings: Settings, publish: Publish) -> None:
    """A second request names the first, and gets another action."""
    publish(settings, 0.05)
    first = decide(client)
    second = decide(client, dedup_with=[first["decision_id"]])
    assert [each["placements"][0]["slots"][0]["action"] for each in (first, second)] == ["beef", "milk"]
