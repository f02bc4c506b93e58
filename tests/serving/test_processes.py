"""Decisions in several processes at once, on every State: the same request gets the same answer, and counts once."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from nextbest import records
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import open_state
from nextbest.envelope import Envelope
from nextbest.following import step
from nextbest.settings import Settings
from nextbest.state import SnapshotScope

REQUESTS, LIMIT = 60, 40

_WORKER = """
import asyncio, json, sys
from datetime import UTC, datetime
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import open_state
from nextbest.messages import Profile
from nextbest.settings import CHECKOUT, Settings
from serving.basis import Basis
from serving.decider import Decider
from serving.policies import Policies
from nextbest.wire import CustomerReference, DecisionRequest


class Features:
    async def profile(self, customer_id):
        return Profile(features={"spend_91d": 12.5})


class NoModels:
    current = None


async def main():
    settings = Settings.from_env()
    log, state = SqliteLog(settings.event_log), open_state(settings)
    policies = Policies(settings.policies_archive, state)
    await policies.start()
    contract = load_contracts(CHECKOUT / "data_contracts")["decisions"]
    clock = lambda: datetime.now(UTC)
    decider = Decider(
        policies=policies, models=NoModels(), features=Features(), basis=Basis(state, log),
        contract=contract, clock=clock, budget_ms=60_000,
    )

    async def decide(n):
        customer = CustomerReference(customer_id=f"c{n % 3}")
        asked = DecisionRequest(customer=customer, placements=("home_banner",), request_id=f"r{n}")
        record = await decider.decide(asked)
        slots = [(slot.action, slot.probability) for slot in record.placements[0].slots]
        return record.request_id, record.decision_id, slots

    sys.stdin.readline()
    print(json.dumps(await asyncio.gather(*(decide(n) for n in range(REQUESTS)))))
    log.close()
    state.close()


asyncio.run(main())
"""


def decided_by(settings: Settings) -> list[list[Any]]:
    """What each of four processes says to the same requests, all at once."""
    environment = settings.environment()
    with ExitStack() as ended:
        processes = []
        for _ in range(4):
            command = [sys.executable, "-c", _WORKER.replace("REQUESTS", str(REQUESTS))]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            ended.enter_context(process)
            ended.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate()[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 4
    return [json.loads(each) for each in said]


def publish(settings: Settings, policy: dict[str, Any]) -> None:
    folder = settings.home / "policies"
    folder.mkdir(exist_ok=True)
    for name, content in policy.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    name = read_and_archive(folder, settings.policies_archive).hash
    with closing(open_state(settings)) as state, closing(SqliteLog(settings.event_log)) as log:
        asyncio.run(state.publish_policy(name))
        asyncio.run(step(log, state))


def test_the_same_request_in_many_processes_is_one_decision(
    home: Callable[[], Settings], policy_files: dict[str, Any]
) -> None:
    """Every process answers alike; the log has one decision per request, and no volume or cap is overdrawn."""
    settings = home()
    beef = policy_files["actions"]["actions"][0] | {"volume": {"limit": LIMIT, "per": "total"}}
    policy_files["actions"] = policy_files["actions"] | {"actions": [beef, *policy_files["actions"]["actions"][1:]]}
    policy_files["arbitration"] = {
        "formula": {"use_propensity": False},
        "exploration": {"strategy": "inverse_gap", "gamma": 0.5},
        "salt": "test",
    }
    policy_files["contact_policy"] = policy_files["contact_policy"] | {
        "rules": [{"id": "milk_often", "scope": "action", "count": "impression", "limit": 9, "window_hours": 24}]
    }
    publish(settings, policy_files)
    first, *others = decided_by(settings)
    assert all(other == first for other in others)
    assert len({decision_id for _, decision_id, _ in first}) == REQUESTS
    with closing(SqliteLog(settings.event_log)) as log:
        entries: list[Envelope] = [entry for _, entry in log.read_sync(0, 10_000) if entry.slot == 0]
    made = [records.decode(entry.properties["record"]) for entry in entries]
    assert sorted(record.decision_id for record in made) == sorted(decision_id for _, decision_id, _ in first)
    actions = [slot.action for record in made for slot in record.placements[0].slots]
    assert 0 < actions.count("beef") <= min(LIMIT, 3 * 9)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    with closing(open_state(settings)) as state:
        scope = SnapshotScope(long_ago, long_ago, ("beef/volume@total",))
        for customer in ("c0", "c1", "c2"):
            found = asyncio.run(state.snapshot(customer, scope))
            assert max(sum(contact.action == name for contact in found.contacts) for name in ("beef", "milk")) <= 9
        assert found.usage["beef/volume@total"].held == actions.count("beef")
