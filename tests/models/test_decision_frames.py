"""Training sets of decisions and events: only what is known to the end, with the probabilities it was drawn by."""

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models import decision_frames
from models.decision_frames import EVERYBODY
from models.errors import TooLittleDataError, TrainingDataError
from models.frames import TrainingSet
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.landing import Door
from nextbest.adapters.marts import SCORES, scores_file
from nextbest.records import DO_NOTHING, PlacementRecord, SlotRecord
from nextbest.settings import Settings

TIME = "datetime64[us, UTC]"
WEDNESDAY = pd.Timestamp(2026, 3, 4, 18, tz="UTC").as_unit("us")
PMF = {DO_NOTHING: 0.2, "beef/beef_email": 0.5, "cheese/cheese_email": 0.2, "novelty/novelty_email": 0.1}


def draw(action: str, *, probability: float, without: str = "") -> str:
    """The draw of a slot, which `without` could not fill."""
    treatment = f"{action}_email" if action != DO_NOTHING else "brand_hero"
    slot = SlotRecord(slot=0, action=action, treatment=treatment, probability=probability)
    record = PlacementRecord(
        id="email_hero",
        channel="email",
        pmf=PMF,
        order=tuple(PMF),
        available=(tuple(not key.startswith(without or "-") for key in PMF),),
        slots=(slot,),
    )
    return msgspec.json.encode(record).decode()


def label(customer: str, action: str, probability: float, **others: object) -> dict[str, object]:
    return {
        "decision_id": f"d-{customer}-{action}",
        "slot": 0,
        "customer_id": customer,
        "decided_at": WEDNESDAY,
        "channel": "email",
        "action": action,
        "probability": probability,
        "draw": draw(action, probability=probability),
        "hour_of_day": 13,
        "weekday": 3,
        "is_seen": False,
        "is_opened": False,
        "is_clicked": False,
        "is_answered": False,
        "any_response_7d": False,
        "is_complete": True,
        "source": "simulated",
    } | others


LABELS = [
    label("1", "beef", 0.5, is_seen=True, is_opened=True, is_clicked=True, any_response_7d=True),
    label("1", "cheese", 0.2),
    label("2", "beef", 0.5, channel="web", is_opened=None),
    label("2", "cheese", 0.2, channel="web", is_seen=True, is_opened=None),
    label("2", DO_NOTHING, 0.2),
    label("2", "novelty", 0.1),
    label("2", "beef", 0.5, is_complete=False, is_seen=True),
    label("2", "cheese", 0.4, draw=draw("cheese", probability=0.4, without="beef")),
    label("2", "cheese", 0.9),
    label("2", "beef", 1.0, draw=None),
]


def write(settings: Settings, labels: list[dict[str, object]]) -> None:
    folder = settings.marts / "current"
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(LABELS[0])
    pd.DataFrame(labels, columns=columns).astype(
        {"decided_at": TIME, "is_opened": "boolean", "is_complete": bool, "is_seen": bool}
    ).to_parquet(folder / "decision_labels.parquet")
    statistics = [
        {"action": action, "department_id": "food", "as_of": WEDNESDAY, "responses": 10, "redemptions": 5}
        for action in ("beef", "cheese")
    ]
    names = {"responses": "subset_responses_before", "redemptions": "subset_redemptions_before"}
    pd.DataFrame(statistics).rename(columns=names).to_parquet(folder / "action_statistics.parquet")
    events = {
        "event_id": ["e1", "e2"],
        "customer_id": ["1", "1"],
        "session_id": ["s", None],
        "category": ["beef", "cheese"],
        "type": ["product_view", "email_open"],
        "occurred_at": pd.Series([WEDNESDAY, WEDNESDAY + timedelta(hours=1)], dtype=TIME),
    }
    pd.DataFrame(events).iloc[: len(labels)].to_parquet(folder / "category_events.parquet")


def score(settings: Settings, segments: dict[str, str | None]) -> None:
    """What a scoring has said of customers."""
    file = scores_file(settings.marts)
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "customer_id": customer,
            "as_of": WEDNESDAY.to_pydatetime(),
            "segment": segment,
            "model_versions": "segments 1",
        }
        for customer, segment in segments.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCORES), file)


@pytest.fixture(scope="module")
def decided(feature_store: Settings) -> Settings:
    """The home whose features Feast knows, with labels of decisions."""
    write(feature_store, LABELS)
    Door(feature_store.landing, feature_store.quarantine, load_contracts(feature_store.folder("contracts"))).prepare()
    return feature_store


def test_a_send_is_an_action_and_whether_it_was_seen(settings: Settings) -> None:
    """Nothing is no send, what may still be answered is left out, and whoever has no segment is in everybody's."""
    write(settings, LABELS)
    score(settings, {"1": "big spenders", "2": None})
    frame = decision_frames.preferences_set(settings).frame
    assert len(frame) == 8
    assert frame.groupby("customer_id")["segment"].first().to_dict() == {"1": "big spenders", "2": EVERYBODY}
    assert frame["is_answered"].tolist() == [1.0, 0.0, 0.0, 1.0, *[0.0] * 4]
    assert set(frame["decided_at"]) == {WEDNESDAY}
    assert set(frame["hour"]) == {13}
    assert set(frame["weekday"]) == {3}


def test_intent_takes_the_events_it_knows(settings: Settings) -> None:
    """An e-mail opened says nothing of an order of looks."""
    write(settings, LABELS)
    frame = decision_frames.intent_set(settings).frame
    assert frame["category"].tolist() == ["beef"]
    assert list(frame) == ["customer_id", "session_id", "category", "type", "occurred_at"]


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (decision_frames.engagement_set, "nothing that was decided has been shown for seven days"),
        (decision_frames.uplift_set, "nothing has been decided by a draw that is known"),
        (decision_frames.preferences_set, "nothing has been sent for seven days"),
        (decision_frames.intent_set, "no event names a category"),
    ],
)
def test_a_home_without_decisions_is_told_what_is_missing(
    settings: Settings, read: Callable[[Settings], TrainingSet], why: str
) -> None:
    """Too little to learn from is a sentence, not a stack of calls."""
    write(settings, [])
    with pytest.raises(TooLittleDataError, match=why):
        read(settings)


pytestmark = [
    pytest.mark.filterwarnings("ignore:sqlglotrs is deprecated:DeprecationWarning"),  # sqlglot's, which Feast brings
    pytest.mark.filterwarnings(r"ignore:fetch_arrow_table\(\) is deprecated:DeprecationWarning"),  # ibis', likewise
]


@pytest.mark.integration
def test_engagement_is_of_what_was_mailed_or_seen(decided: Settings) -> None:
    """Whether a banner was opened is not known, nor whether what nobody saw would have been clicked."""
    data = decision_frames.engagement_set(decided)
    frame = data.frame.set_index(["customer_id", "action", "channel"]).sort_index()
    assert data.leaks == {}
    assert "novelty" not in set(data.frame["action"])
    [seen] = frame.loc[("2", "cheese", "web"), ["is_opened", "is_clicked", "channel_web"]].to_dict("records")
    assert pd.isna(seen["is_opened"])
    assert (seen["is_clicked"], seen["channel_web"]) == (0.0, 1.0)
    [mailed] = frame.loc[("1", "cheese", "email"), ["is_opened", "is_clicked"]].to_dict("records")
    assert mailed["is_opened"] == 0.0
    assert pd.isna(mailed["is_clicked"])
    assert ("2", "beef", "web") not in frame.index
    assert (data.frame[["category_spend_182d", "spend_91d"]] == 1).to_numpy().all()
    assert data.action_features.keys() == {"beef", "cheese"}


@pytest.mark.integration
def test_uplift_knows_the_probability_of_every_arm(decided: Settings) -> None:
    """Of what could be had and is known; rows whose draw does not tell their probability are left out."""
    data = decision_frames.uplift_set(decided)
    frame = data.frame
    arms = [f"probability__{arm}" for arm in (DO_NOTHING, "beef", "cheese")]
    assert frame["action"].tolist() == ["beef", "cheese", "beef", "cheese", DO_NOTHING, "cheese"]
    assert frame["outcome"].tolist() == [1.0, *[0.0] * 5]
    assert frame[arms].sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert frame[arms].iloc[0].tolist() == pytest.approx([0.2 / 0.9, 0.5 / 0.9, 0.2 / 0.9])
    assert frame[arms].iloc[-1].tolist() == pytest.approx([0.5, 0.0, 0.5])
    assert frame["probability"].tolist() == pytest.approx([5 / 9, 2 / 9, 5 / 9, 2 / 9, 2 / 9, 0.5])
    assert {"category_spend_182d__beef", "channel_email", "hour_of_day"} <= set(frame.columns)
    assert data.leaks == {}


def test_a_draw_that_is_none_is_named(decided: Settings) -> None:
    """By its decision; a decoder's own words name no row."""
    write(decided, [label("1", "beef", 0.5, draw="{")])
    with pytest.raises(TrainingDataError, match=r"the draw of decision .* cannot be read"):
        decision_frames.uplift_set(decided)
