"""The follower: what the registry calls champion is what serving gets, within seconds and without a restart.

Belongs here: watching the aliases, checking that a champion may serve, and publishing the model set. Does not belong
here: making a version champion (`models.lifecycle`, `nextbest models promote`, the MLflow UI) or loading it (serving).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from models.champions import Champions
from models.registry import STORE_ERRORS, Registry
from models.versions import GATE, GATE_SHA256, UnservableError, Version
from nextbest.adapters.bundles import BundleError, read_bundle, write_bundle
from nextbest.adapters.marts import feature_names
from nextbest.adapters.onnx import Scorer
from nextbest.errors import NextbestError
from nextbest.live_features import subject_of
from nextbest.model_set import MODELS, Model, model_set
from nextbest.settings import Settings
from nextbest.situation import ScoringError
from nextbest.state import State

TAG = "follower"
INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


class RefusedError(NextbestError):
    """A champion that must not serve; the message says why."""


class Follower:
    """Publishes a home's champions, and the shadows beside them, to State and as bundles."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._registry = Registry(settings)
        self._state = state
        self._bundles = settings.bundles
        self._marts = settings.marts
        self._settled: object = None
        self._seen: object = None
        self._said = ""
        self._refused: dict[Path, object] = {}

    async def step(self, now: datetime) -> str | None:
        """Publish the champions if they, their shadows, or the set State names, are others than at the last step.

        A champion that must not serve gets a tag that says why, and is looked at again when its files have changed; the
        version that served before goes on: it keeps no other model from a promotion or a rollback. A shadow that must
        not, or cannot be read, is left out, with such a tag. A model whose champion was taken away goes on serving: a
        set lacks a model only while it never had one. A champion that cannot be read is raised after the others were
        published, and tried again at the next step.

        Returns:
            The id of the published model set, if one was.

        """
        snapshot = (self._marts / "current").resolve().name  # with other features, what was refused may serve
        revision = self._registry.revision(), snapshot, await self._state.current_model_set()
        is_another = any(_stamp(file) != was for file, was in self._refused.items())
        if revision == self._seen and not is_another:
            return None
        champions = [version for name in MODELS if (version := self._registry.champion_version(name))]
        shadows = [version for each in champions if (version := self._registry.shadow_version(each.name))]
        versions = [
            (each.name, each.version, each.alias, each.tags.get(GATE), each.tags.get(GATE_SHA256))
            for each in (*champions, *shadows)
        ]
        if (versions, *revision[1:]) == self._settled and not is_another:
            self._seen = revision if revision[0] is not None else None
            return None
        published = await self._publish(champions, shadows, now)
        self._settled = versions, snapshot, await self._state.current_model_set()
        return published

    async def follow(self, clock: Callable[[], datetime], stop: asyncio.Event) -> None:
        """Step every second until `stop`; a store that cannot be reached is tried again."""
        while not stop.is_set():
            try:
                published = await self.step(clock())
            except (NextbestError, OSError, *STORE_ERRORS) as error:
                if str(error) != self._said:  # once, however often it is tried again
                    _log.exception("the champions could not be published; trying again")
                self._said = str(error)
            else:
                self._said = ""
                if published is not None:
                    _log.info("published model set %s", published)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), INTERVAL_S)

    async def _publish(self, champions: Sequence[Version], shadows: Sequence[Version], now: datetime) -> str | None:
        self._refused = {}
        usable: dict[str, tuple[Model, bytes]] = {}
        unread: Exception | None = None
        for version in champions:
            try:
                if entry := self._load(version):
                    usable[version.name] = entry
            except (OSError, *STORE_ERRORS) as error:
                unread = error
        published = await self._publish_usable(champions, shadows, usable, now)
        if unread is not None:
            raise unread
        return published

    async def _publish_usable(
        self,
        champions: Sequence[Version],
        shadows: Sequence[Version],
        usable: Mapping[str, tuple[Model, bytes]],
        now: datetime,
    ) -> str | None:
        current, is_whole = await self._state.current_model_set(), len(usable) == len(champions)
        kept = self._kept(current, usable)
        acting = [*usable.values(), *(kept or ())]
        if not acting or (kept is None and not is_whole):
            return None
        names = {model.name for model, _ in acting}
        beside = [
            entry for version in shadows if version.name in names and (entry := self._load_shadow(version)) is not None
        ]
        chosen = model_set((model for model, _ in acting), now, shadows=(model for model, _ in beside))
        if chosen.id == current and not is_whole:
            return None
        write_bundle(self._bundles, chosen, {model.file: content for model, content in (*acting, *beside)})
        await self._state.publish_model_set(chosen.id)
        for version in champions:
            if version.name in usable:
                self._registry.tag(version, TAG, f"published: model set {chosen.id}")
                Champions(self._registry).note(version)
        for version in shadows:
            if version.version in {model.version for model, _ in beside if model.name == version.name}:
                self._registry.tag(version, TAG, f"published as shadow: model set {chosen.id}")
        return chosen.id

    def _load_shadow(self, version: Version) -> tuple[Model, bytes] | None:
        """The shadow, whose file must not take the place of the champion's; it keeps no champion waiting."""
        try:
            entry = self._load(version)
        except (OSError, *STORE_ERRORS) as error:
            _log.warning("the shadow %s %s cannot be read: %s", version.name, version.version, error)
            self._registry.tag(version, TAG, f"left out: {error}")
            return None
        return entry and (msgspec.structs.replace(entry[0], file=f"{version.name}.shadow.onnx"), entry[1])

    def _load(self, version: Version) -> tuple[Model, bytes] | None:
        found = {file: _stamp(file) for file in self._registry.files(version)}
        try:
            model, content = self._registry.judged(version)
            _check(version, model, content, feature_names(self._marts))
        except (RefusedError, UnservableError, ScoringError) as error:
            _log.warning("refused %s %s: %s", version.name, version.version, error)
            self._registry.tag(version, TAG, f"refused: {error}")
            self._refused |= found
            return None
        return model, content

    def _kept(self, current: str | None, usable: Collection[str]) -> list[tuple[Model, bytes]] | None:
        """The models of the current set of which no champion is usable; None where that set cannot be read."""
        if current is None:
            return []
        try:
            served, files = read_bundle(self._bundles, current)
        except BundleError as error:
            _log.warning("the former set cannot be kept: %s", error)
            return None
        kept = [model for name, model in served.models.items() if name not in usable]
        for model in kept:
            _log.warning("%s has no champion that may serve: version %s goes on", model.name, model.version)
        return [(model, files[model.file]) for model in kept]


def _stamp(file: Path) -> object:
    """Another value after every change of the file; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _check(version: Version, model: Model, content: bytes, features: Collection[str]) -> None:
    """Raise what keeps the model from serving, beside its gate: features that nobody has, or no way to score."""
    if missing := _missing(model, features):
        raise RefusedError(f"it takes features that no feature view has: {', '.join(missing)}")
    scorer = Scorer(model_set([model], version.created_at), {model.file: content})
    scorer.prove()


def _missing(model: Model, features: Collection[str]) -> list[str]:
    """Features of the customer that decisions would only have the default of; unknown before anything is published."""
    asked = {feature.name for feature in model.features if feature.origin == "customer"}
    matched = [feature.name for feature in model.features if feature.origin == "match"]
    asked |= {f"{name}__{action}" for name in matched for action in model.action_features}
    return sorted(name for name in asked - set(features) if subject_of(name) is None) if features else []
