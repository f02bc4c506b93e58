"""What happens to every model the same way: train, measure, register, judge, promote.

Belongs here: the order of these steps. Does not belong here: any one of them.
"""

from collections.abc import Callable
from datetime import datetime

from threadpoolctl import threadpool_limits

from models import stability
from models.candidate import Candidate, Champion, Registered
from models.dependencies import training_digest
from models.frames import TrainingSet
from models.gates import judge
from models.registry import Registry
from nextbest.settings import Settings

Build = Callable[[TrainingSet, Champion | None], Candidate]


def run(settings: Settings, name: str, data: TrainingSet, build: Build, now: datetime) -> Registered:
    """Train on `data` unless the very same was done before; what passes the gate becomes champion.

    A version that fails is registered too, with the reason in its tags; the champion stays who it is.
    """
    registry = Registry(settings)
    fingerprint = data.fingerprint(name, training_digest(settings))
    known = registry.trained_on(name, fingerprint)
    if known is not None:
        return known
    # Matrices are small: more than one BLAS thread only waits for the others, and for whatever else runs here.
    with threadpool_limits(1):
        candidate = build(data, registry.champion(name))
    population = stability.reference(stability.population(settings, candidate.model), now)
    version = registry.log(candidate, fingerprint, population, now)
    return registry.conclude(version, candidate, judge(candidate.evidence, candidate.thresholds))
