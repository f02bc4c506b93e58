"""Training sets of decisions, and of events: what was shown to whom, with what probability, and what came of it.

Belongs here: rows of the marts `decision_labels` and `category_events` as the models of engagement, uplift, preferences
and intent take them. Does not belong here: joining features (`models.frames`), or which of them a model takes
(`models.inputs`).
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import pandas as pd

from models.errors import TrainingDataError
from models.frames import (
    Known,
    TrainingSet,
    action_features_at,
    by_action,
    point_in_time,
    read_labels,
    read_mart,
    rows_or_error,
    training_set,
    with_features,
)
from models.inputs import HOUR, READINGS, with_channel, with_match
from models.sequences import TYPES
from nextbest.adapters.marts import scores_file
from nextbest.records import DO_NOTHING, PlacementRecord
from nextbest.settings import Settings

EVERYBODY = "everybody"
"""The segment of a customer of whom no other is known."""

_KEY = ["decision_id", "slot", "customer_id", "decided_at", "channel", "action", HOUR]
_NOTHING_JOINED = Known(pd.DataFrame(), {})
_ROUNDING = 1e-6


def engagement_set(settings: Settings) -> TrainingSet:
    """Slot that was mailed or seen, with `is_opened` (e-mail only) and `is_clicked` (what was seen); else missing.

    Raises:
        TooLittleDataError: there is no such row.

    """
    reading = READINGS["opens"]
    labels, actions = _labels(settings, reading.labels), _actions(settings, reading.statistics)
    is_shown = labels["is_seen"] | (labels["channel"] == "email")
    labels = labels[is_shown & labels["action"].isin(actions["action"])]
    labels = rows_or_error(labels, f"{reading.labels}: nothing that was decided has been shown for seven days")
    known = point_in_time(settings, reading.service, labels["customer_id"], labels["decided_at"])
    frame = with_channel(with_match(with_features(labels[_KEY], known.features, "decided_at")))
    frame = frame.assign(
        share=frame["action"].map(actions.set_index("action")["share"]),
        is_opened=labels["is_opened"].astype("float64"),
        is_clicked=labels["is_clicked"].astype("float64").where(labels["is_seen"]),
    )
    return training_set(settings, frame, known, by_action(actions))


def uplift_set(settings: Settings) -> TrainingSet:
    """Decision that was drawn, or part of one: `models.uplift.train` names the columns; `outcome` is any response.

    An action that nothing is known of is no arm: rows with it are left out, and the probabilities of the others are
    those given that it was not drawn.

    Raises:
        TooLittleDataError: there is no such row.

    """
    reading = READINGS["uplift"]
    labels, actions = _labels(settings, reading.labels), _actions(settings, reading.statistics)
    labels, probability = _drawn(labels[labels["draw"].notna()], [DO_NOTHING, *actions["action"]])
    labels = rows_or_error(
        labels, f"{reading.labels}: nothing has been decided by a draw that is known, for seven days"
    )
    known = point_in_time(settings, reading.service, labels["customer_id"], labels["decided_at"])
    frame = with_channel(with_features(labels[_KEY], known.features, "decided_at"))
    outcome = labels["any_response_7d"].astype("float64")
    frame = pd.concat([frame.assign(outcome=outcome), probability], axis="columns")
    return training_set(settings, frame, known, by_action(actions))


def preferences_set(settings: Settings) -> TrainingSet:
    """Action that was sent, and whether it was seen: `models.preferences.train` names the columns; and `decided_at`.

    A customer is of the segment that the scores say, or of `EVERYBODY`.

    Raises:
        TooLittleDataError: nothing was sent.

    """
    reading = READINGS["preferences"]
    labels = _labels(settings, reading.labels)
    labels = labels[labels["action"] != DO_NOTHING]
    labels = rows_or_error(labels, f"{reading.labels}: nothing has been sent for seven days")
    frame = pd.DataFrame(
        {
            "customer_id": labels["customer_id"],
            "segment": labels["customer_id"].map(segments_of(settings)).fillna(EVERYBODY),
            "channel": labels["channel"],
            "hour": labels[HOUR],
            "weekday": labels["weekday"],
            "is_answered": labels["is_seen"].astype("float64"),
            "decided_at": labels["decided_at"],
        }
    )
    return training_set(settings, frame, _NOTHING_JOINED, {})


def segments_of(settings: Settings) -> dict[str, str]:
    """The segment of every customer, as it was scored last; nothing as long as there is none."""
    path = scores_file(settings.marts)
    if not path.exists():
        return {}
    scored = pd.read_parquet(path, columns=["customer_id", "segment"]).dropna()
    return dict(zip(scored["customer_id"], scored["segment"], strict=True))


def intent_set(settings: Settings) -> TrainingSet:
    """Event in which a category was in view: `models.intent.train` names the columns.

    Raises:
        TooLittleDataError: there is no such event.

    """
    reading = READINGS["intent"]
    events = read_labels(settings, reading.labels)
    events = rows_or_error(events[events["type"].isin(TYPES)], f"{reading.labels}: no event names a category")
    frame = events[["customer_id", "session_id", "category", "type", "occurred_at"]]
    return training_set(settings, frame, _NOTHING_JOINED, {})


def _labels(settings: Settings, mart: str) -> pd.DataFrame:
    """Those that nothing can be added to any more."""
    labels = read_labels(settings, mart)
    return labels[labels["is_complete"]]


def _actions(settings: Settings, marts: Sequence[str]) -> pd.DataFrame:
    """What is known of each action now."""
    [statistics] = [read_mart(settings, name) for name in marts]
    return action_features_at(statistics, statistics["as_of"].max())


def _drawn(labels: pd.DataFrame, arms: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows whose draw tells the probability of what was selected, and the probabilities of the arms.

    Raises:
        TrainingDataError: a draw is none.

    """
    decode = msgspec.json.Decoder(PlacementRecord).decode
    wide = np.zeros((len(labels), len(arms)))
    chosen = labels["action"].to_numpy(dtype=object)
    number = {arm: position for position, arm in enumerate(arms)}
    is_known = np.zeros(len(labels), dtype=np.bool_)
    logged = labels["probability"].to_numpy(np.float64)
    for row, text in enumerate(labels["draw"]):
        try:
            draw = decode(text)
        except msgspec.DecodeError as error:
            decision = labels["decision_id"].iloc[row]
            raise TrainingDataError(f"the draw of decision {decision} cannot be read: {error}") from error
        masses = _available(draw)
        total = sum(masses.values())
        key = draw.slots[0].key if draw.slots else ""
        if total <= 0.0 or abs(masses.get(key, 0.0) / total - logged[row]) > _ROUNDING:
            continue  # selected ahead of any draw, or from a record of which something is gone
        for candidate, mass in masses.items():
            arm = number.get(candidate.partition("/")[0])
            if arm is not None:
                wide[row, arm] += mass
        is_known[row] = chosen[row] in number
    taken, wide = labels[is_known], wide[is_known]
    wide /= wide.sum(axis=1, keepdims=True)
    selected = wide[np.arange(len(taken)), taken["action"].map(number).to_numpy(np.intp)]
    columns = {f"probability__{arm}": wide[:, position] for arm, position in number.items()}
    return taken, pd.DataFrame({"probability": selected} | columns)


def _available(draw: PlacementRecord) -> dict[str, float]:
    """The masses of what could be had when the first slot was filled."""
    if not draw.available:
        return draw.pmf
    could = dict(zip(draw.order, draw.available[0], strict=False))
    return {key: mass for key, mass in draw.pmf.items() if could.get(key, False)}
