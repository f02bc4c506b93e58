"""A trial: a fitted model, the rows that it was trained on and those that it is tried on; and the candidate it becomes.

Belongs here: what every version goes through the same way, whatever it predicts: its file, parity, speed, fairness,
leaks, segments, card. Does not belong here: which rows, which measures and which demands (each recipe).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.arrays import Array
from models.candidate import Candidate, Champion
from models.cards import Facts, Words, card
from models.export import latency_ms, parity, score
from models.fairness import by_group, groups_of
from models.fitted import Fitted
from models.frames import TrainingSet
from models.gates import Evidence, GroupFairness, Thresholds
from models.inputs import matrix
from models.recipes.measures import Measures
from nextbest.contracts import Fairness
from nextbest.model_set import FeatureSpec, Model, Probe

_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A version, or what is to become one, with the rows that it was trained on and those that it is tried on."""

    data: TrainingSet
    train: pd.DataFrame
    test: pd.DataFrame
    model: Model
    onnx: bytes
    champion: Champion | None

    def scores(self) -> Array:
        """What serving will say of the test rows."""
        return score(self.model, self.onnx, self.test)

    def rival(self, frame: pd.DataFrame) -> Array | None:
        """What the champion says of the rows of a frame; None without one."""
        return None if self.champion is None else score(self.champion.model, self.champion.onnx, frame)

    def unseen(self, times: pd.Series) -> NDArray[np.bool_]:
        """Which of the rows with these times neither the model nor the champion was trained on."""
        models = [self.model, *([self.champion.model] if self.champion else [])]
        moments = [each.trained_until for each in models if each.trained_until]
        return np.asarray(times >= max(moments)) if moments else np.ones(len(times), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What training gave: the model, how it was chosen, what it takes, and until when it has seen anything."""

    fitted: Fitted
    chosen: Mapping[str, object]
    features: tuple[FeatureSpec, ...]
    trained_until: datetime
    action_features: Mapping[str, Mapping[str, float]] | None = None
    """Of actions, where they are others than the data's."""


def trial(
    name: str,
    data: TrainingSet,
    rows: tuple[pd.DataFrame, pd.DataFrame],
    fit: Fit,
    champion: Champion | None,
    *,
    labels: tuple[str, ...] = (),
) -> Trial:
    """The trial of a fit on training and test rows, its file made."""
    actions = data.action_features if fit.action_features is None else fit.action_features
    model = Model(
        name=name,
        version="",
        run_id="",
        file=f"{name}.onnx",
        sha256="",
        features=fit.features,
        action_features={action: dict(known) for action, known in actions.items()},
        output=fit.fitted.output,
        trained_until=fit.trained_until,
        labels=labels,
    )
    train, test = rows
    return Trial(
        data=data,
        train=train,
        test=test,
        model=model,
        onnx=fit.fitted.to_onnx().SerializeToString(),
        champion=champion,
    )


def trial_of(
    version: Champion, data: TrainingSet, rows: tuple[pd.DataFrame, pd.DataFrame], champion: Champion | None
) -> Trial:
    """The trial of a version of before on rows of today."""
    train, test = rows
    return Trial(data=data, train=train, test=test, model=version.model, onnx=version.onnx, champion=champion)


def candidate(tried: Trial, fit: Fit, measures: Measures, thresholds: Thresholds, words: Words) -> Candidate:
    """The candidate that a trial becomes, judged by nobody yet."""
    data, x = tried.data, matrix(tried.test, tried.model.features)
    fairness = None if measures.is_fair_by_nature else data.fairness
    thresholds = msgspec.structs.replace(thresholds, fairness=fairness)
    groups = _fairness(data, measures.subjects, fairness)
    evidence = Evidence(
        improvements=dict(measures.gains),
        over_champion=measures.over_champion,
        calibration=dict(measures.calibration),
        parity=parity(tried.scores(), fit.fitted, x) if measures.parity is None else measures.parity,
        latency_ms=latency_ms(tried.model, tried.onnx),
        fairness=groups,
        leaks=dict(data.leaks),
    )
    metrics = dict(measures.metrics) | {
        "train_rows": len(tried.train),
        "test_rows": len(tried.test),
        "onnx_parity": evidence.parity,
        "latency_ms": evidence.latency_ms,
    }
    facts = Facts(
        train=tried.train,
        test=tried.test,
        contracts=data.contracts,
        metrics=measures.metrics,
        gains=dict(measures.gains) | ({} if measures.over_champion is None else {"champion": measures.over_champion}),
        segments=segments(measures.subjects),
        fairness=groups,
        thresholds=thresholds,
    )
    return Candidate(
        model=msgspec.structs.replace(tried.model, probe=_probe(fit.fitted, x)),
        onnx=tried.onnx,
        params=dict(fit.chosen) | {"features": len(tried.model.features)},
        metrics=metrics,
        evidence=evidence,
        thresholds=thresholds,
        figures=dict(measures.figures),
        card=card(words, facts),
        example=x[:_EXAMPLES].astype(np.float32),
    )


def _probe(fitted: Fitted, x: Array) -> Probe:
    rows = x[:_EXAMPLES]
    return Probe(tuple(map(tuple, rows.tolist())), tuple(fitted.predict(rows).tolist()))


def segments(subjects: pd.DataFrame) -> pd.DataFrame:
    """Rows, what was expected and what came of it, in mean, by segment."""
    grouped = subjects.groupby("segment")
    return grouped.agg(
        rows=("actual", "size"), expected=("predicted", "mean"), happened=("actual", "mean")
    ).reset_index()


def spend_segments(frame: pd.DataFrame) -> NDArray[np.str_]:
    """The third of the rows that each belongs to, by the spend of the year before."""
    third = frame["spend_364d"].rank(method="first", pct=True)
    return np.select([third <= 1 / 3, third <= 2 / 3], ["low spend", "medium spend"], "high spend")


def _fairness(data: TrainingSet, subjects: pd.DataFrame, limits: Fairness | None) -> tuple[GroupFairness, ...]:
    if limits is None or data.protected.empty:
        return ()
    groups = groups_of(subjects["customer_id"], data.protected)
    actual, predicted = (subjects[name].to_numpy(np.float64) for name in ("actual", "predicted"))
    return by_group(subjects["customer_id"].to_numpy(dtype=str), groups, actual, predicted, limits)
