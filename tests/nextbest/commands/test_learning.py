"""`nextbest learning status`: what answers have taught, with no server running."""

import asyncio
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from nextbest.adapters.bundles import write_bundle
from nextbest.adapters.policy_archive import read_and_archive
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.states import open_state
from nextbest.commands.learning import learning
from nextbest.following import advance
from nextbest.learning import COMPLETE, Learning
from nextbest.model_set import model_set
from nextbest.policy import Policy
from nextbest.settings import Settings
from tests.contacts import decided, told
from tests.nextbest.conftest import StandInModels

NOW = datetime.now(UTC)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return Settings(home=tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(learning, ["status", *arguments], catch_exceptions=False)


def published(settings: Settings, document: dict[str, Any], models: StandInModels) -> Policy:
    """A policy and a model set that decide."""
    (settings.home / "policies").mkdir()
    for name, content in document.items():
        (settings.home / "policies" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    policy = read_and_archive(settings.folder("policies"), settings.policies_archive)
    models.model_set = model_set([], NOW)
    write_bundle(settings.bundles, models.model_set, {})
    with closing(open_state(settings)) as state:
        asyncio.run(state.publish_policy(policy.hash))
    with closing(open_state(settings)) as state:
        asyncio.run(state.publish_model_set(models.model_set.id))
    return policy


def learn(settings: Settings, policy: Policy, models: StandInModels, *, is_complete: bool) -> None:
    """Four contacts with apples, of which two were answered, and an answer to something that nobody saw."""
    log = []
    for number in range(4):
        name, at = f"d{number}", NOW - timedelta(days=20)
        log += [decided(name, at, model_set_id=models.model_set.id), told("impression", name, at)]
        log += [told("redemption", name, at + timedelta(hours=3))] * (number < 2)
    log += [decided("unseen", NOW, model_set_id=models.model_set.id), told("click", "unseen", NOW)]

    async def fold() -> None:
        with closing(open_state(settings)) as state, closing(SqliteLog(settings.event_log)) as events:
            await events.append(log)
            projection = Learning(policy, models)
            await advance(events, state, projection)
            if is_complete:
                values, at = {COMPLETE: "1"}, await events.last_offset()
                await state.project(projection.name, await events.log_id(), values, after=at, offset=at)

    asyncio.run(fold())


def test_shows_what_was_learned(settings: Settings, document: dict[str, Any], models: StandInModels) -> None:
    """Contacts, answers, the correction, how long answers took, and which taught nothing, in words and in JSON."""
    policy = published(settings, document, models)
    learn(settings, policy, models, is_complete=True)
    file = settings.home / "learning.json"
    result = run("--json", str(file))
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert any(line.startswith("apples 4 4 2 50.00% 50.00% +0.00 ± ") for line in lines), result.output
    assert any("half of what answers are worth comes within" in line and "(2 answered)" in line for line in lines)
    assert "answers that taught nothing: 1" in lines
    assert any(line.startswith("1: there is no impression") for line in lines), result.output
    figures = json.loads(file.read_text())
    assert (figures["is_complete"], figures["records_behind"]) == (True, 0)
    [apples] = [each for each in figures["actions"] if each["action"] == "apples"]
    assert (apples["seen"], apples["answered"], apples["p"]) == (4, 2, pytest.approx(0.5))


def test_says_that_nothing_is_used_yet(settings: Settings, document: dict[str, Any], models: StandInModels) -> None:
    """While the log is still being read."""
    policy = published(settings, document, models)
    assert "none of this is used yet: 0 records of the log are still to be read" in run().output
    learn(settings, policy, models, is_complete=False)
    assert "none of this is used yet" in run().output


def test_a_home_that_decides_nothing_yet_is_said(settings: Settings) -> None:
    """Before `nextbest up` there is no policy to learn under."""
    assert settings.home
    result = run()
    assert (result.exit_code, "no policy and model set decide yet" in result.output) == (0, True)
