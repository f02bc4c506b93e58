"""What happens to every model the same way: train, measure, register, judge, promote.

Belongs here: the order of these steps. Does not belong here: any one of them.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module

import pandas as pd
from threadpoolctl import threadpool_limits

from models import calibration, stability
from models.calibration import Labels
from models.candidate import Candidate, Champion, Registered
from models.champions import Champions
from models.dependencies import training_digest
from models.evaluation import UNTOLD
from models.frames import TrainingSet
from models.gates import Check, Thresholds, judge, not_worse
from models.recipes.measures import Measures
from models.registry import STORE_ERRORS, Registry, reachable
from models.versions import LABELS_UNTIL, UnservableError, Version
from nextbest.settings import Settings
from nextbest.situation import ScoringError

_MODULES = {"opens": "engagement", "clicks": "engagement"}
"""Of models whose recipe is in a module of another name."""

_log = logging.getLogger(__name__)

Build = Callable[[TrainingSet, Champion | None], Candidate]
Measure = Callable[[TrainingSet, Champion, Champion | None], Measures]
"""Of data, a version of before and the champion, if any: what is measured of the version now."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How versions of a model are made, and measured later; and what is asked of them."""

    name: str
    read: Callable[[Settings], TrainingSet]
    build: Build
    measure: Measure
    thresholds: Thresholds

    def compare(self, data: TrainingSet, shadow: Champion, champion: Champion) -> Check:
        """Whether a shadow is not worse than the champion on rows that neither was trained on."""
        return not_worse(self.measure(data, shadow, champion).over_champion or UNTOLD, self.thresholds)


def train_and_register(settings: Settings, name: str, now: datetime) -> Registered:
    """Train the model of this name on what the marts hold, measure, register, and make champion what passes the gate.

    Raises:
        TooLittleDataError: there is not enough to train and to measure by.
        TrainingDataError: the marts or the feature store do not hold what it takes.

    """
    recipe = recipe_of(name)
    return run(settings, recipe, recipe.read(settings), now)


def recipe_of(name: str) -> Recipe:
    """The recipe of a model; its module is imported when it is asked for."""
    module = import_module(f"models.recipes.{_MODULES.get(name, name)}")
    found: Recipe = module.RECIPES[name] if name in _MODULES else module.RECIPE
    return found


def run(settings: Settings, recipe: Recipe, data: TrainingSet, now: datetime) -> Registered:
    """Train on `data` unless the very same was done before; what passes the gate becomes champion.

    A version that fails is registered too, with the reason in its tags; the champion stays who it is. A version in the
    shadow is looked at first: what was too little evidence then may be enough with what has come since.

    Raises:
        RegistryError: the registry cannot be used; whoever is champion stays it.

    """
    fingerprint = data.fingerprint(recipe.name, training_digest(settings))
    with reachable(settings), (registry := Registry(settings)).training(recipe.name):
        known = registry.trained_on(recipe.name, fingerprint)
        return known or _new_version(settings, recipe, data, fingerprint, now)


def _new_version(settings: Settings, recipe: Recipe, data: TrainingSet, fingerprint: str, now: datetime) -> Registered:
    registry, name = Registry(settings), recipe.name
    # Matrices are small: more than one BLAS thread only waits for the others, and for whatever else runs here.
    with threadpool_limits(1):
        _reconsider(registry, recipe, data)
        rival = registry.champion(name)
        candidate = recipe.build(data, rival)
    population = stability.reference(stability.population(settings, candidate.model), now)
    version = registry.log(candidate, fingerprint, population, now)
    if (newest := stability.label_times(settings, name).max()) is not pd.NaT:
        registry.tag(version, LABELS_UNTIL, newest.isoformat())
    verdict = judge(candidate.evidence, candidate.thresholds)
    return Champions(registry).conclude(version, candidate, verdict, rival.model.version if rival else None)


def labels(settings: Settings, version: Version, since: datetime) -> list[Labels]:
    """What labels after `since` say of a version, those of them that a training would measure on now.

    Raises:
        TooLittleDataError: there is not enough to measure by.
        TrainingDataError: the marts or the feature store do not hold what it takes.

    """
    recipe = recipe_of(version.name)
    model, content = Registry(settings).artifacts(version)
    data = recipe.read(settings)
    with threadpool_limits(1):
        measures = recipe.measure(data, Champion(model=model, onnx=content), None)
        return calibration.labels(measures.expectations, recipe.thresholds.calibration, since)


def _reconsider(registry: Registry, recipe: Recipe, data: TrainingSet) -> None:
    shadow, champion = registry.shadow_version(recipe.name), registry.champion(recipe.name)
    if shadow is not None and champion is not None:
        try:
            model, content = registry.judged(shadow)
            check = recipe.compare(data, Champion(model=model, onnx=content), champion)
        except (UnservableError, ScoringError, OSError, *STORE_ERRORS) as error:
            _log.warning("the shadow %s %s stays unjudged: %s", shadow.name, shadow.version, error)
        else:
            Champions(registry).reconsider(shadow, check, champion.model.version)
