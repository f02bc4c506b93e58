"""A version of customer lifetime value: what it is trained and measured on, and what is asked of it.

Belongs here: the split by time, the measures, the demands. Does not belong here: the fit (`models.clv`), reading the
frame (`models.frames`), or the registry (`models.lifecycle`).
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from models import cards, clv, evaluation, frames, lifecycle
from models.arrays import Array
from models.baselines import spend_baselines
from models.candidate import Candidate, Champion, Registered
from models.errors import TooLittleDataError
from models.evaluation import Interval, Statistic
from models.export import parity, score
from models.frames import TrainingSet
from models.gates import Evidence, Thresholds
from models.inputs import customer_features, matrix
from models.plots import calibration_figure, gain_figure
from nextbest.model_set import Model
from nextbest.settings import Settings

NAME = "clv"
HORIZON = timedelta(days=91)
THRESHOLDS = Thresholds(champion_margin=0.02, calibration={"absolute_bias": 0.15})


def train_and_register(settings: Settings, now: datetime) -> Registered:
    """Train on what the marts hold, measure, register, and make champion what passes the gate."""
    return lifecycle.run(settings, NAME, frames.clv_set(settings), build, now)


def split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows: cut-offs whose window had closed at the last cut-off, and the last cut-off.

    Raises:
        TooLittleDataError: no cut-off lies a whole window before the last one, or there are fewer customers than folds.

    """
    last = frame["cutoff_at"].max()
    train, test = frame[frame["cutoff_at"] + HORIZON <= last], frame[frame["cutoff_at"] == last]
    if train.empty:
        raise TooLittleDataError(
            f"clv_labels: no cut-off lies {HORIZON.days} days before the last, {last}: the history is too short"
        )
    customers = train["customer_id"].nunique()
    if customers < clv.FOLDS:
        raise TooLittleDataError(
            f"clv_labels: {customers} customers are too few: it takes {clv.FOLDS} to choose a model"
        )
    return train.reset_index(drop=True), test.reset_index(drop=True)


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Train on `data` and measure on its last cut-off."""
    train, test = split(data.frame)
    features = customer_features(data.frame)
    params = clv.Params(features=features)
    trained = clv.train(train, params)
    fitted = trained.model
    content = fitted.to_onnx().SerializeToString()
    model = Model(
        name=NAME, version="", run_id="", file=f"{NAME}.onnx", sha256="", features=features, output="value"
    )  # fmt: skip
    predictions = {"model": score(model, content, test)} | spend_baselines(test, HORIZON)
    if champion is not None:
        predictions["champion"] = score(champion.model, champion.onnx, test)
    metrics, gains = _measure(test, predictions)
    evidence = Evidence(
        improvements={name: gain for name, gain in gains.items() if not name.startswith("champion")},
        over_champion=gains.get("champion_mae"),
        calibration={"absolute_bias": abs(metrics["bias"])},
        parity=parity(predictions["model"], fitted, matrix(test, features)),
    )
    return Candidate(
        model=model,
        onnx=content,
        params=dict(trained.chosen)
        | {
            "features": len(features),
            "horizon_days": HORIZON.days,
            "tested_on": f"{test['cutoff_at'].iloc[0]:%Y-%m-%d}",
        },
        metrics=metrics | {"train_rows": len(train), "test_rows": len(test), "onnx_parity": evidence.parity},
        evidence=evidence,
        thresholds=THRESHOLDS,
        figures=_figures(test, predictions),
        card=cards.clv_card(
            train=train, test=test, contracts=data.contracts, gains=gains, metrics=metrics, thresholds=THRESHOLDS
        ),
        example=matrix(test[:5], features).astype(np.float32),
    )


def _measure(test: pd.DataFrame, predictions: dict[str, Array]) -> tuple[dict[str, float], dict[str, Interval]]:
    """Gains by `<other>_mae` (part of the other's error that is gone) and `<other>_spearman` (difference)."""
    actual = test["spend_next_91d"].to_numpy(np.float64)
    own = predictions["model"]
    ranks = {name: evaluation.spearman(actual, predicted) for name, predicted in predictions.items()}
    statistics: dict[str, Statistic] = {}
    for name in predictions.keys() - {"model"}:
        statistics[f"{name}_mae"] = evaluation.error_reduction(actual, own, predictions[name])
        statistics[f"{name}_spearman"] = evaluation.difference(ranks["model"], ranks[name])
    measured = {"mae": evaluation.mean_absolute_error(actual, own), "spearman": ranks["model"]}
    customers = test["customer_id"].to_numpy(dtype=str)
    *intervals, mae, spearman = evaluation.bootstrap(customers, *statistics.values(), *measured.values())
    gains = dict(sorted(zip(statistics, intervals, strict=True)))
    metrics = {
        "mae": mae.estimate, "mae_low": mae.low, "mae_high": mae.high,
        "spearman": spearman.estimate, "spearman_low": spearman.low, "spearman_high": spearman.high,
        "bias": float(own.sum() / actual.sum() - 1.0),
    }  # fmt: skip
    everyone = np.ones((1, len(test)))
    for name in sorted(predictions.keys() - {"model"}):
        metrics[f"{name}_mae"] = float(np.abs(actual - predictions[name]).mean())
        metrics[f"{name}_spearman"] = float(ranks[name](everyone)[0])
    for name, gain in gains.items():
        metrics |= {f"{name}_gain": gain.estimate, f"{name}_gain_low": gain.low, f"{name}_gain_high": gain.high}
    return metrics, gains


def _figures(test: pd.DataFrame, predictions: dict[str, Array]) -> dict[str, Figure]:
    actual = test["spend_next_91d"].to_numpy(np.float64)
    return {
        "calibration": calibration_figure(actual, predictions["model"], "USD in 91 days"),
        "gain": gain_figure(actual, predictions, "spend"),
    }
