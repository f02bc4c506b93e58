"""The learner builds what is wanted from the log, and replicas decide by it once it is whole."""

import asyncio
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nextbest.adapters.onnx import Scorer
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.skipped_records import SkippedRecords
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import OpenState, open_state
from nextbest.envelope import Envelope
from nextbest.learning import COMPLETE, Learned, projection_name
from nextbest.policy import Policy
from nextbest.projection import Projection
from nextbest.settings import Settings
from nextbest.state import StateUnavailableError
from serving.app import running
from serving.learner import Learner
from serving.lessons import Lessons
from serving.policies import InForce
from serving.processor import Processor
from tests.contacts import NOW, decided, told

Publish = Callable[[Settings, float], str]
SEEN = 40


@dataclass
class Held:
    """What is in use, as a test says."""

    current: Any = None


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.01)


@dataclass
class Site:
    """One home's log and State, with the processor and the learner of its event processor, and a replica's lessons."""

    settings: Settings
    log: SqliteLog
    state: OpenState
    publish: Publish
    policies: Held = field(default_factory=Held)
    models: Held = field(default_factory=Held)

    def __post_init__(self) -> None:
        """Put it together as `serving.deployments` does."""
        self.projections: list[Projection] = []
        self.processor = Processor(
            log=self.log,
            state=self.state,
            skipped=SkippedRecords(self.settings.skipped_records),
            clock=lambda: NOW,
            projections=self.projections,
        )
        self.learner = Learner(
            log=self.log,
            state=self.state,
            policies=self.policies,
            models=self.models,
            skip=self.processor.skip,
            projections=self.projections,
        )
        self.lessons = Lessons(
            log=self.log, state=self.state, policies=self.policies, models=self.models, clock=lambda: NOW
        )

    def use_policy(self, content: dict[str, Any]) -> Policy:
        folder = self.settings.home / "policies"
        folder.mkdir(exist_ok=True)
        for name, each in content.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(each))
        policy = read_and_archive(folder, self.settings.policies_archive)
        self.policies.current = InForce.of(policy)
        return policy

    def use_models(self, probability: float) -> str:
        name = self.publish(self.settings, probability)
        self.models.current = Scorer.load(self.settings.bundles, name)
        return name

    async def learned(self, policy: Policy, model_set: str) -> Learned:
        name = projection_name(policy, model_set)
        kept = await self.state.projected(name, await self.log.log_id(), Learned.keys(policy))
        return Learned.of(kept.values, policy)

    async def processed(self) -> None:
        """Let the processor bring everything to the log's end."""
        log_id, end = await self.log.log_id(), await self.log.last_offset()
        processor = dataclasses.replace(self.processor)  # each loop has one of its own
        async with running(processor.follow()), running(processor.project()), asyncio.timeout(10):
            for each in processor.projections:
                while (await self.state.projected(each.name, log_id, ())).offset < end:  # noqa: ASYNC110  nobody sets an event
                    await asyncio.sleep(0.01)

    def correction(self, action: str) -> float:
        """Of the log odds, as a replica would make it."""
        beliefs, policy = self.policies.current.beliefs, self.policies.current.policy
        believed = beliefs.of(self.models.current)
        if believed is None:
            return 0.0
        means, _ = believed.of([policy.actions[action]], np.ones(1))
        return float(means[0])


@pytest.fixture
def site(home: Callable[[], Settings], publish: Publish, policy_files: dict[str, Any]) -> Iterator[Site]:
    settings = home()
    with closing(open_state(settings)) as state, closing(SqliteLog(settings.event_log)) as log:
        site = Site(settings, log, state, publish)
        site.use_policy(policy_files)
        yield site


def contacts(
    answered: int, first: int = 0, action: str = "beef", at: datetime = NOW - timedelta(days=20)
) -> list[Envelope]:
    """Contacts that were seen, of which so many were answered."""
    log = []
    for number in range(first, first + SEEN):
        name = f"d{number}"
        log += [decided(name, at, [action], customer_id=f"c{number}"), told("impression", name, at)]
        log += [told("redemption", name, at)] * (number - first < answered)
    return log


def test_answers_move_what_replicas_believe(site: Site) -> None:
    """Built from the log, complete, and in the beliefs: for a strategy that explores by no posterior too."""
    model_set = site.use_models(0.1)
    site.log.append_sync(contacts(20))

    async def learn() -> None:
        await site.lessons.step()
        assert site.correction("beef") == 0.0
        await site.learner.step()
        await site.lessons.step()
        assert site.correction("beef") > 1.0
        assert site.correction("milk") == 0.0
        await site.log.append([told("dismissal", f"d{number}", NOW - timedelta(days=19)) for number in range(20)])
        before = site.correction("beef")
        await site.processed()
        await site.lessons.step()
        assert site.correction("beef") < before

    asyncio.run(learn())
    [learned] = site.projections
    assert learned.name == projection_name(site.policies.current.policy, model_set)


def test_another_model_set_is_learned_from_the_beginning(site: Site) -> None:
    """The one before goes on until then, and is forgotten after; nothing is believed of what is not complete."""
    second, first = site.publish(site.settings, 0.5), site.use_models(0.1)
    policy = site.policies.current.policy
    site.log.append_sync(contacts(20))

    async def learn() -> None:
        await site.learner.step()
        site.models.current = Scorer.load(site.settings.bundles, second)
        assert (await site.learned(policy, first)).is_complete
        await site.lessons.step()
        assert site.correction("beef") == 0.0
        await site.learner.step()
        await site.lessons.step()
        assert abs(site.correction("beef")) < 0.01
        assert not (await site.learned(policy, first)).tables
        kept = await site.learned(policy, second)
        assert kept.is_complete
        [sums] = kept.tables["beef"].values()
        assert sums.predicted[0] / (1 << 24) == pytest.approx(SEEN * 0.5)

    asyncio.run(learn())
    assert len(site.projections) == 1


def test_another_policy_of_learning_is_learned_from_the_beginning(site: Site, policy_files: dict[str, Any]) -> None:
    """What a dismissal costs changes what all of them have cost; another lever does not begin anew."""
    model_set = site.use_models(0.1)
    site.log.append_sync([*contacts(20), told("dismissal", "d0", NOW - timedelta(days=19))])

    async def learn() -> None:
        await site.learner.step()
        first = site.policies.current.policy
        policy_files["arbitration"]["learning"] = {"rewards": {"dismissal": -1.0}}
        changed = site.use_policy(policy_files)
        await site.learner.step()
        assert not (await site.learned(first, model_set)).tables
        [sums] = (await site.learned(changed, model_set)).tables["beef"].values()
        assert sums.surplus[0] / (1 << 24) == pytest.approx(19.0)
        [learned] = site.projections
        policy_files["actions"]["actions"][0]["lever"] = 150.0
        site.use_policy(policy_files)
        await site.learner.step()
        assert site.projections == [learned]

    asyncio.run(learn())


def test_what_is_not_complete_is_not_believed(site: Site) -> None:
    """Half of a log would be believed only to be taken back."""
    model_set = site.use_models(0.1)
    site.log.append_sync(contacts(20))

    async def learn() -> None:
        await site.learner.step()
        name, log_id = projection_name(site.policies.current.policy, model_set), await site.log.log_id()
        at = (await site.state.projected(name, log_id, ())).offset
        await site.state.project(name, log_id, {COMPLETE: None}, after=at, offset=at)
        await site.lessons.step()
        assert site.correction("beef") == 0.0
        await site.learner.step()
        await site.lessons.step()
        assert site.correction("beef") > 1.0

    asyncio.run(learn())


def test_state_that_is_emptied_is_learned_again(site: Site) -> None:
    """`nextbest log replay` forgets what is folded; the processor folds it again, and it is complete again."""
    site.use_models(0.1)
    site.log.append_sync(contacts(20))

    async def learn() -> None:
        await site.learner.step()
        await site.state.clear()
        await site.lessons.step()
        assert site.correction("beef") == 0.0
        await site.processed()
        await site.learner.step()
        await site.lessons.step()
        assert site.correction("beef") > 1.0

    asyncio.run(learn())


def test_what_is_learned_again_is_complete_at_the_end_that_the_log_has_then(site: Site) -> None:
    """Not where it was when it was learned first: what came since would be missing."""
    model_set, policy = site.use_models(0.1), site.policies.current.policy
    site.log.append_sync(contacts(20))

    async def learn() -> None:
        await site.learner.step()
        name, log_id, first = projection_name(policy, model_set), await site.log.log_id(), await site.log.last_offset()
        await site.log.append(contacts(0, first=SEEN))
        await site.state.clear()
        await site.state.project(name, log_id, {}, after=0, offset=first)
        await site.learner.step()
        assert not (await site.learned(policy, model_set)).is_complete
        await site.processed()
        await site.learner.step()
        assert (await site.learned(policy, model_set)).is_complete

    asyncio.run(learn())


def test_silence_counts_only_as_far_as_the_log_is_folded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the processor stands still, nobody knows whether there were answers: it is believed what was before."""
    site.use_models(0.1)
    monkeypatch.setattr("serving.lessons._ANYWAY_S", 0.0)
    site.log.append_sync(contacts(answered=0, at=NOW))

    async def learn() -> None:
        await site.learner.step()
        await site.log.append([told("login", None, NOW)])
        site.lessons.clock = lambda: NOW + timedelta(days=30)
        await site.lessons.step()
        behind = site.correction("beef")
        await site.processed()
        await site.lessons.step()
        assert site.correction("beef") < behind < 0.0

    asyncio.run(learn())


def test_a_reward_is_believed_soon(site: Site) -> None:
    """From the log to the beliefs, with everything following by itself."""
    site.use_models(0.1)
    site.log.append_sync(contacts(0))

    async def learn() -> None:
        processor = running(site.processor.follow()), running(site.processor.project())
        async with processor[0], processor[1], running(site.learner.follow()), running(site.lessons.follow()):
            await until(lambda: site.correction("beef") < 0.0)
            before = site.correction("beef")
            await site.log.append([told("redemption", "d0", NOW - timedelta(days=20))])
            await until(lambda: site.correction("beef") > before)

    asyncio.run(learn())


def test_a_state_that_is_down_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is believed stays meanwhile, and nothing ends."""
    site.use_models(0.1)
    site.log.append_sync(contacts(20))
    monkeypatch.setattr("serving.learner._RETRY_S", 0.001)
    projected, tries = type(site.state).projected, list[int]()

    async def down_at_first(*arguments: Any) -> object:
        tries.append(1)
        if len(tries) < 4:
            raise StateUnavailableError("State cannot be used: full")
        return await projected(*arguments)

    monkeypatch.setattr(type(site.state), "projected", down_at_first)

    async def learn() -> None:
        async with running(site.learner.follow()), running(site.lessons.follow()):
            await until(lambda: site.correction("beef") != 0.0)

    asyncio.run(learn())
    assert "learning waits: State cannot be used: full" in caplog.text
    assert "what answers say is not followed: State cannot be used: full" in caplog.text


def test_without_a_policy_or_models_there_is_nothing_to_learn(site: Site) -> None:
    """A home before its first training."""
    site.log.append_sync(contacts(1))
    asyncio.run(site.learner.step())
    asyncio.run(site.lessons.step())
    assert site.projections == []
    assert not Path(site.settings.skipped_records).exists()


def test_a_log_that_never_rests_is_learned_from(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for its end, another record has come: what was there when it was asked first is enough."""
    numbers, ask = itertools.count(10 * SEEN, SEEN), SqliteLog.last_offset
    policy, model_set = site.policies.current.policy, site.use_models(0.1)

    async def never_resting(log: SqliteLog) -> int:
        log.append_sync(contacts(answered=0, first=next(numbers)))
        return await ask(log)

    async def follow() -> None:
        await site.log.append(contacts(answered=10))
        monkeypatch.setattr(SqliteLog, "last_offset", never_resting)
        async with running(site.processor.follow()), running(site.processor.project()):
            async with asyncio.timeout(20):
                while not (await site.learned(policy, model_set)).is_complete:
                    await site.learner.step()
                    await asyncio.sleep(0.01)

    asyncio.run(follow())
