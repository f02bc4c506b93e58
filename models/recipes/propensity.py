"""A version of propensity: which campaigns it is trained and measured on, what is measured, and what is asked of it.

Belongs here: the split by time, the measures, the demands. Does not belong here: the fit (`models.propensity`), reading
the frame (`models.frames`), or the registry (`models.lifecycle`).
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from models import cards, evaluation, frames, lifecycle, propensity
from models.arrays import Array
from models.baselines import redemption_baselines
from models.candidate import Candidate, Champion, Registered
from models.errors import TooLittleDataError
from models.evaluation import Interval, Statistic
from models.export import parity, score
from models.frames import TrainingSet
from models.gates import Evidence, Thresholds
from models.inputs import matrix, propensity_features
from models.labels import by_contact, soft_labels
from models.plots import calibration_figure, gain_figure
from nextbest.model_set import FeatureSpec, Model
from nextbest.settings import Settings

NAME = "propensity"
TEST_PERIOD = timedelta(days=56)
THRESHOLDS = Thresholds(
    champion_margin=0.01, calibration={"calibration_error": 0.05, "row_calibration_error_share": 0.4}
)


def train_and_register(settings: Settings, now: datetime) -> Registered:
    """Train on what the marts hold, measure, register, and make champion what passes the gate."""
    return lifecycle.run(settings, NAME, frames.propensity_set(settings), build, now)


def split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows: campaigns that had ended when the first test campaign began, and the latest campaigns.

    Campaigns still running at that moment are in neither: their labels were not known then.

    Raises:
        TooLittleDataError: one of the two would have no redemption to learn from or to be measured by, or there would
            be one campaign to learn from, and none to choose a model by.

    """
    begins = frame["contacted_at"].max() - TEST_PERIOD
    test = frame[frame["contacted_at"] > begins]
    train = frame[frame["ended_at"] <= test["contacted_at"].min()]
    for name, rows in (("before", train), ("in", test)):
        if not 0 < rows["any_redeemed"].mean() < 1:
            raise TooLittleDataError(
                f"propensity_labels: {len(rows)} rows of campaigns {name} the test period from {begins:%Y-%m-%d} on, "
                "and not both redeemed and unredeemed ones: take more households or a longer history"
            )
    if len(train["campaign_id"].unique()) == 1:
        raise TooLittleDataError(
            f"propensity_labels: one campaign had ended when the test period from {begins:%Y-%m-%d} on began: it takes "
            "two to choose a model"
        )
    return train.reset_index(drop=True), test.reset_index(drop=True)


def build(data: TrainingSet, champion: Champion | None) -> Candidate:
    """Train on `data` and measure on its latest campaigns."""
    train, test = split(data.frame)
    features = propensity_features(data.frame)
    trained = propensity.train(train, propensity.Params(features=features))
    fitted = trained.model
    content = fitted.to_onnx().SerializeToString()
    model = Model(
        name=NAME, version="", run_id="", file=f"{NAME}.onnx", sha256="", features=features,
        action_features={action: dict(known) for action, known in data.action_features.items()}, output="probability",
    )  # fmt: skip
    probability = score(model, content, test)
    contacts = by_contact(test, probability)
    scores = {"model": contacts["probability"].to_numpy(np.float64)}
    scores |= redemption_baselines(by_contact(train, soft_labels(train)), contacts)
    if champion is not None:
        rival = by_contact(test, score(champion.model, champion.onnx, test))
        scores["champion"] = rival["probability"].to_numpy(np.float64)
    metrics, gains = _measure(contacts, scores)
    rows = {"train_rows": len(train), "test_rows": len(test), "test_contacts": len(contacts)}
    metrics |= _measure_rows(test, probability) | rows
    evidence = Evidence(
        improvements={name: gain for name, gain in gains.items() if name != "champion"},
        over_champion=gains.get("champion"),
        calibration={name: metrics[name] for name in THRESHOLDS.calibration},
        parity=parity(probability, fitted, matrix(test, features)),
    )
    return Candidate(
        model=model,
        onnx=content,
        params=dict(trained.chosen) | _described(features, train, test),
        metrics=metrics | {"onnx_parity": evidence.parity},
        evidence=evidence,
        thresholds=THRESHOLDS,
        figures=_figures(contacts, scores),
        card=cards.propensity_card(
            train=train, test=test, contracts=data.contracts, gains=gains, metrics=metrics, thresholds=THRESHOLDS
        ),
        example=matrix(test[:5], features).astype(np.float32),
    )


def _measure(contacts: pd.DataFrame, scores: dict[str, Array]) -> tuple[dict[str, float], dict[str, Interval]]:
    redeemed = contacts["any_redeemed"].to_numpy(bool)
    aucs = {name: evaluation.auc(redeemed, score) for name, score in scores.items()}
    others = [name for name in aucs if name != "model"]
    statistics: list[Statistic] = [
        aucs["model"],
        *(evaluation.difference(aucs["model"], aucs[name]) for name in others),
    ]
    own, *differences = evaluation.bootstrap(contacts["customer_id"].to_numpy(dtype=str), *statistics)
    gains = dict(zip(others, differences, strict=True))
    everyone = np.ones((1, len(contacts)))
    outcome = redeemed.astype(np.float64)
    metrics = {
        "auc": own.estimate,
        "auc_low": own.low,
        "auc_high": own.high,
        "redemption_rate": float(outcome.mean()),
        "log_loss": evaluation.log_loss(outcome, scores["model"]),
        "calibration_error": evaluation.calibration_error(outcome, scores["model"]),
    }
    for name, gain in gains.items():
        metrics |= {
            f"{name}_auc": float(aucs[name](everyone)[0]),
            f"{name}_auc_difference": gain.estimate,
            f"{name}_auc_difference_low": gain.low,
            f"{name}_auc_difference_high": gain.high,
        }
    return metrics, gains


def _measure_rows(test: pd.DataFrame, probability: Array) -> dict[str, float]:
    """Against the category's redemption as recorded, in every campaign: in type A it depends on who got which offer.

    Decisions weigh each action's own probability against its cost: no sum over actions may hide that it is off.
    """
    redeemed = test["is_redeemed"].to_numpy(bool)
    error = evaluation.calibration_error(redeemed.astype(np.float64), probability)
    return {
        "row_auc": float(evaluation.auc(redeemed, probability)(np.ones((1, len(test))))[0]),
        "row_log_loss": evaluation.log_loss(redeemed.astype(np.float64), probability),
        "row_redemption_rate": float(redeemed.mean()),
        "row_calibration_error": error,
        "row_calibration_error_share": error / max(float(redeemed.mean()), 1e-12),
    }


def _figures(contacts: pd.DataFrame, scores: dict[str, Array]) -> dict[str, Figure]:
    outcome = contacts["any_redeemed"].to_numpy(np.float64)
    return {
        "calibration": calibration_figure(outcome, scores["model"], "P(any coupon of the campaign redeemed)"),
        "gain": gain_figure(outcome, scores, "redeeming contacts"),
    }


def _described(features: tuple[FeatureSpec, ...], train: pd.DataFrame, test: pd.DataFrame) -> dict[str, object]:
    return {
        "features": len(features),
        "campaigns_trained_on": _campaigns(train),
        "campaigns_tested_on": _campaigns(test),
    }


def _campaigns(rows: pd.DataFrame) -> str:
    return " ".join(rows.sort_values("contacted_at")["campaign_id"].astype(str).unique())
