"""Following the model set: swapped without a restart, refused when it cannot be used."""

import asyncio
import shutil
from collections.abc import Callable

import pytest

from nextbest.adapters.sqlite_state import SqliteState
from nextbest.settings import Settings
from serving.model_sets import ModelSets

Publish = Callable[[Settings, float], str]


def in_use(models: ModelSets) -> str | None:
    return models.current.model_set.id if models.current else None


def test_starts_with_the_published_set_and_follows_it(settings: Settings, state: SqliteState, publish: Publish) -> None:
    """A set published later is in use after the next look; the scorer held by a decision stays what it was."""

    async def follow() -> None:
        models = ModelSets(settings.bundles, state)
        await models.start()
        assert in_use(models) == first
        held = models.current
        await state.publish_model_set(second)
        await models.update()
        assert in_use(models) == second
        assert held is not None
        assert held.model_set.id == first

    second, first = publish(settings, 0.2), publish(settings, 0.1)
    asyncio.run(follow())


def test_starts_with_the_last_good_bundle_when_state_is_lost(
    settings: Settings, state: SqliteState, publish: Publish
) -> None:
    """State may be rebuilt later: the newest bundle that can be loaded serves meanwhile."""
    model_set_id = publish(settings, 0.1)
    (settings.bundles / "broken").mkdir()
    (settings.bundles / "broken" / "manifest.json").write_text("{")
    shutil.rmtree(settings.online_state.parent)
    models = ModelSets(settings.bundles, state)
    asyncio.run(models.start())
    assert in_use(models) == model_set_id


def test_without_any_bundle_there_is_no_set(settings: Settings, state: SqliteState) -> None:
    """A first start has no model: decisions fall back until one is published."""
    models = ModelSets(settings.bundles, state)
    asyncio.run(models.start())
    assert models.current is None


@pytest.mark.parametrize("damage", [b"", b"something else"])
def test_a_bundle_that_was_changed_is_refused(
    settings: Settings, state: SqliteState, publish: Publish, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    """The last good set stays; the refusal is logged once, however often State is read."""
    good, bad = publish(settings, 0.1), publish(settings, 0.2)
    (settings.bundles / bad / "propensity.onnx").write_bytes(damage)

    async def follow() -> str | None:
        models = ModelSets(settings.bundles, state)
        await state.publish_model_set(good)
        await models.start()
        await state.publish_model_set(bad)
        await models.update()
        await models.update()
        return in_use(models)

    assert asyncio.run(follow()) == good
    assert caplog.text.count("is refused") == 1
