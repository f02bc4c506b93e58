import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import cel
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nextbest.adapters.complete_journey import CompleteJourney, sample
from nextbest.adapters.complete_journey.actions import actions_yaml
from nextbest.adapters.complete_journey.mapping import connect
from nextbest.adapters.complete_journey.people import web_account
from nextbest.adapters.complete_journey.shift import recorded_shift, whole_weeks
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.sources import SourceError
from nextbest.records import decode
from nextbest.settings import CHECKOUT, Settings
from nextbest.validation import validate

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAST = datetime(2018, 1, 1, 4, 1, 20, tzinfo=UTC)
CONTRACTS = load_contracts(CHECKOUT / "data_contracts")
_POLICY = yaml.safe_load((CHECKOUT / "policies" / "actions.yaml").read_text())["actions"]
ACTIONS = [action for action in _POLICY if "category" in action.get("attributes", {})]
"""Those that follow from the data; the others were written by hand."""

Tables = Mapping[str, pa.Table]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def source(settings: Settings) -> CompleteJourney:
    return CompleteJourney(settings, clock=lambda: NOW)


@pytest.fixture(scope="module")
def tables(source: CompleteJourney) -> Tables:
    """Everything the source supplies, of all households, read once."""
    return {contract: source.read(contract) for contract in source.contracts()}


def test_what_is_held_back_comes_as_it_happened(settings: Settings, source: CompleteJourney) -> None:
    """What is imported and what is live are the whole, once; the live part is the last weeks, in their order."""
    assert source.shift
    few = replace(settings, households=40)
    whole, cut = CompleteJourney(few), CompleteJourney(replace(few, live_weeks=8))
    live = list(cut.live())
    assert {contract for contract, _ in live} == {"transactions", "outcomes"}
    for contract in ("transactions", "outcomes"):
        imported = cut.read(contract).to_pylist()
        came = [row | {"source": "import"} for name, row in live if name == contract]
        by = CONTRACTS[contract].key
        everything = sorted(imported + came, key=lambda row: [row[name] for name in by])
        assert everything == sorted(whole.read(contract).to_pylist(), key=lambda row: [row[name] for name in by])
        assert max(row["occurred_at"] for row in imported) < min(row["occurred_at"] for row in came)
        assert cut.fingerprint(contract) != whole.fingerprint(contract)
    moments = [row["occurred_at"] for _, row in live]
    assert moments == sorted(moments)
    assert moments[-1] - moments[0] < timedelta(weeks=8)
    assert not list(whole.live())


def test_who_lands_after_a_demo_holds_back_what_it_did(tmp_path: Path) -> None:
    """Whoever is told nothing takes what was kept; whoever is told something takes that."""
    plain = Settings(home=tmp_path)
    told = replace(plain, households=40, live_weeks=2, demo_trial=True)
    whole = CompleteJourney(plain).fingerprint("outcomes")
    CompleteJourney(told).keep()
    kept = CompleteJourney(plain)
    assert kept.fingerprint("outcomes") == CompleteJourney(told).fingerprint("outcomes") != whole
    assert "decisions" in kept.contracts()
    assert "decisions" not in CompleteJourney(replace(plain, households=40)).contracts()
    (tmp_path / ".nextbest/demo/cut.json").write_text("no JSON")
    with pytest.raises(SourceError, match="does not say what the demo took"):
        CompleteJourney(plain)


@pytest.fixture(scope="module")
def sampled(settings: Settings, source: CompleteJourney) -> Tables:
    """The same home's data, of forty households."""
    assert source.shift
    few = CompleteJourney(replace(settings, households=40))
    return {contract: few.read(contract) for contract in few.contracts()}


@pytest.fixture(scope="module")
def trial(settings: Settings, source: CompleteJourney) -> Tables:
    """What a trial adds to the same home's data, and what it is added to."""
    assert source.shift
    tried = CompleteJourney(replace(settings, demo_trial=True))
    return {contract: tried.read(contract) for contract in ("decisions", "events", "outcomes")}


def values(table: pa.Table, column: str) -> set[str]:
    return set(table[column].to_pylist())


def test_nothing_of_the_data_set_is_lost(tables: Tables) -> None:
    """Every row of the package is supplied, oddities included."""
    counts = {contract: table.num_rows for contract, table in tables.items()}

    assert pc.sum(pc.equal(tables["customers"]["source"], "import")).as_py() == 2_469
    assert counts["products"] == 92_331
    assert counts["transactions"] == 1_469_307
    assert counts["contacts"] == 6_589
    assert counts["outcomes"] == 2_102
    assert len(values(tables["contacts"], "campaign_id")) == 27
    assert pc.sum(pc.equal(tables["transactions"]["quantity"], 0)).as_py() == 8_869
    unknown = pc.invert(pc.is_in(tables["transactions"]["product_id"], tables["products"]["product_id"]))
    assert pc.sum(unknown).as_py() == 4_836


@pytest.mark.parametrize("contract", CompleteJourney(Settings()).contracts())
def test_every_table_satisfies_its_contract(tables: Tables, contract: str) -> None:
    """Columns and types are the contract's, and no row is rejected; the data set's oddities warn."""
    references = {
        "customers.customer_id": tables["customers"]["customer_id"].combine_chunks(),
        "products.product_id": tables["products"]["product_id"].combine_chunks(),
    }
    table = tables[contract]
    result = validate(CONTRACTS[contract], table, references)

    assert table.schema.equals(CONTRACTS[contract].schema)
    assert result.rejects_by_rule == {}
    assert result.valid.num_rows == table.num_rows


def test_the_data_ends_now_and_keeps_its_weekdays(source: CompleteJourney, tables: Tables) -> None:
    """The shift is whole weeks: the last purchase lies in the week before now, on the weekday it was made."""
    last = pc.max(tables["transactions"]["occurred_at"]).as_py()

    assert source.shift % timedelta(weeks=1) == timedelta(0)
    assert NOW - timedelta(weeks=1) < last <= NOW
    assert last - source.shift == LAST
    latest = max(pc.max(tables[contract]["occurred_at"]).as_py() for contract in ("outcomes", "consents", "events"))
    assert latest <= last


def test_every_redemption_answers_a_contact(tables: Tables) -> None:
    """A redemption names a contact of the same household that offered the action, and falls inside it."""
    contacts = {row["contact_id"]: row for row in tables["contacts"].to_pylist()}

    for outcome in tables["outcomes"].to_pylist():
        contact = contacts[outcome["contact_id"]]
        assert outcome["customer_id"] == contact["customer_id"]
        assert outcome["action"] in contact["offers"]
        assert contact["contacted_at"] <= outcome["occurred_at"] < contact["ended_at"]


def test_every_redemption_is_a_purchase(tables: Tables) -> None:
    """Read in the stores' time zone, every redemption falls on a visit; its moment is that of a basket."""
    visits = set(
        zip(
            tables["transactions"]["customer_id"].to_pylist(),
            tables["transactions"]["occurred_at"].cast(pa.int64()).to_pylist(),
            strict=True,
        )
    )
    redeemed_at = tables["outcomes"]["occurred_at"].cast(pa.int64()).to_pylist()

    assert all(pair in visits for pair in zip(tables["outcomes"]["customer_id"].to_pylist(), redeemed_at, strict=True))


def test_type_a_campaigns_sent_an_unknown_subset(tables: Tables) -> None:
    """Labels of type A must be treated apart: the contact says so itself."""
    contacts = tables["contacts"].to_pylist()
    pairs = Counter((contact["campaign_type"], contact["assignment"]) for contact in contacts)

    assert set(pairs) == {("Type A", "subset"), ("Type B", "all"), ("Type C", "all")}
    assert pairs["Type A", "subset"] == 3_647


def test_what_the_data_set_lacks_is_marked_as_simulated(tables: Tables) -> None:
    """No synthesized row can be taken for a real one."""
    simulated = {contract for contract, table in tables.items() if values(table, "source") == {"simulated"}}
    imported = {contract for contract, table in tables.items() if values(table, "source") == {"import"}}

    accounts = tables["customers"].filter(pc.starts_with(tables["customers"]["customer_id"], "web-"))

    assert simulated == {"identities", "consents", "events"}
    assert imported == set(tables) - simulated - {"customers"}
    assert values(accounts, "source") == {"simulated"}
    assert all(email.endswith("@example.com") for email in values(tables["identities"], "value") if "@" in email)


def test_some_households_have_an_account_in_the_web_shop_too(tables: Tables) -> None:
    """It is a customer of its own: nothing but how it is written tells whose it is, and nobody else has its id."""
    households = values(tables["consents"], "customer_id")
    accounts = {household: account for household in households if (account := web_account(household))}
    typed = {row["customer_id"]: row for row in tables["identities"].to_pylist() if row["surname"]}
    same = [typed[one]["surname"] == typed[other]["surname"] for one, other in accounts.items()]

    assert 50 < len(accounts) < 100
    assert values(tables["customers"], "customer_id") >= set(accounts.values())
    assert len(set(accounts.values()) - households) == len(accounts)
    assert 0.7 < sum(same) / len(same) < 1


def test_consents_give_the_consent_rule_work(tables: Tables) -> None:
    """Most customers may be reached, some never could, and some withdrew."""
    last: dict[str, str] = {}
    for row in tables["consents"].sort_by("occurred_at").to_pylist():
        if row["purpose"] == "marketing":
            last[row["customer_id"]] = row["status"]
    reachable = Counter(last.values())

    assert 0.8 < reachable["granted"] / 2_469 < 0.95
    assert reachable["withdrawn"] > 50
    assert len(last) < 2_469


def test_the_same_home_reads_the_same_rows(settings: Settings, source: CompleteJourney, tables: Tables) -> None:
    """The door knows a delivery by its content: order and values must repeat, on another day too."""
    again = CompleteJourney(settings, clock=lambda: NOW + timedelta(days=400))

    assert all(again.read(contract).equals(table) for contract, table in tables.items())
    assert all(again.fingerprint(contract) == source.fingerprint(contract) for contract in tables)


def test_a_sample_is_part_of_the_whole(tables: Tables, sampled: Tables) -> None:
    """Every contract holds the sample's households, with the very rows they have in the whole."""
    customers = sampled["customers"]
    households = values(customers, "customer_id")

    assert pc.sum(pc.equal(customers["source"], "import")).as_py() == 40
    for contract, table in sampled.items():
        whole = tables[contract]
        if contract != "products":
            whole = whole.filter(pc.is_in(whole["customer_id"], pa.array(sorted(households))))
        assert table.equals(whole), contract


def test_a_fingerprint_tells_samples_and_shifts_apart(
    settings: Settings, source: CompleteJourney, tmp_path: Path
) -> None:
    """What would read differently has another fingerprint."""
    fewer = CompleteJourney(replace(settings, households=40))
    earlier = CompleteJourney(replace(settings, home=tmp_path), clock=lambda: NOW - timedelta(weeks=9))

    assert len({each.fingerprint("transactions") for each in (source, fewer, earlier)}) == 3
    assert source.fingerprint("contacts") != source.fingerprint("outcomes")
    tried = CompleteJourney(replace(settings, demo_trial=True))
    assert tried.fingerprint("events") != source.fingerprint("events")


def test_a_trial_is_added_where_it_is_asked_for(source: CompleteJourney, tables: Tables, trial: Tables) -> None:
    """All else is as it was; what is added says that it is simulated, and satisfies its contracts."""
    assert "decisions" not in source.contracts()
    for contract, table in trial.items():
        before = tables[contract].num_rows if contract in tables else 0
        assert table.num_rows > before
        assert values(table.slice(before), "source") == {"simulated"}
        assert before == 0 or table.slice(0, before).equals(tables[contract])
        references = {"customers.customer_id": tables["customers"]["customer_id"].combine_chunks()}
        assert validate(CONTRACTS[contract], table, references).valid.num_rows == table.num_rows


def test_a_trial_is_uniform_over_actions_channels_and_hours(trial: Tables) -> None:
    """Nothing a fifth of the time, every other action alike, and the logged probability is that of the draw."""
    decisions = trial["decisions"]
    rows = decisions.num_rows
    actions = Counter(decisions["action"].to_pylist())
    nothing = actions.pop("do_nothing")
    [placement] = decode(decisions["record"][0].as_py()).placements
    local = pc.hour(pc.cast(decisions["occurred_at"], pa.timestamp("us", "America/New_York"))).to_pylist()

    assert rows == 8 * 2_469
    assert nothing / rows == pytest.approx(0.2, abs=0.012)
    assert actions.keys() == {action["id"] for action in ACTIONS}
    assert all(count == pytest.approx(0.8 * rows / 26, rel=0.16) for count in actions.values())
    assert set(Counter(decisions["channel"].to_pylist())) == {"web", "email", "app"}
    assert min(Counter(local).values()) > 0.8 * rows / 24
    assert sum(placement.pmf.values()) == pytest.approx(1.0)
    assert placement.slots[0].probability == placement.pmf[placement.slots[0].key]


def test_a_trial_leaves_a_week_to_every_decision(source: CompleteJourney, trial: Tables) -> None:
    """What comes in the week after a decision is about no other; nothing is told of after the data's end."""
    end = LAST + source.shift
    by_customer: dict[str, list[datetime]] = {}
    for row in trial["decisions"].select(["customer_id", "occurred_at"]).to_pylist():
        by_customer.setdefault(row["customer_id"], []).append(row["occurred_at"])

    for moments in by_customer.values():
        assert all(later - one >= timedelta(weeks=1) for one, later in pairwise(sorted(moments)))
    assert all(pc.max(table["occurred_at"]).as_py() <= end for table in trial.values())


def test_a_trial_tells_what_comes_anyway_from_what_it_brings(trial: Tables) -> None:
    """Only what was proposed is seen and answered; conversions of no decision come to everybody."""
    decided = dict(
        zip(trial["decisions"]["decision_id"].to_pylist(), trial["decisions"]["action"].to_pylist(), strict=True)
    )
    seen = [row for row in trial["events"].to_pylist() if row["decision_id"]]
    outcomes = [row for row in trial["outcomes"].to_pylist() if row["source"] == "simulated"]
    kinds = Counter((row["kind"], row["decision_id"] is None) for row in outcomes)

    assert all(decided[row["decision_id"]] == row["action"] for row in seen)
    assert {row["type"] for row in seen} == {"impression", "email_open", "click"}
    assert {row["channel"] for row in seen if row["type"] == "email_open"} == {"email"}
    assert kinds["redemption", True] == kinds["conversion", False] == 0
    assert kinds["conversion", True] > 500
    assert kinds["redemption", False] > 400


def test_a_sample_of_a_trial_is_part_of_the_whole(settings: Settings, trial: Tables) -> None:
    """Households are decided for, and answer, alike in every sample."""
    few = CompleteJourney(replace(settings, households=40, demo_trial=True))
    households = pa.array(sorted(values(few.read("decisions"), "customer_id")))

    assert len(households) == 40
    for contract, whole in trial.items():
        key = [(name, "ascending") for name in CONTRACTS[contract].key]
        part = whole.filter(pc.is_in(whole["customer_id"], households)).sort_by(key)
        sampled = few.read(contract)
        is_household = pc.is_in(sampled["customer_id"], households)
        assert sampled.filter(is_household).sort_by(key).equals(part), contract


@given(st.sets(st.integers(1, 10**6), max_size=50), st.integers(0, 50), st.integers(0, 50))
def test_a_larger_sample_contains_every_smaller_one(households: set[int], one: int, other: int) -> None:
    """Going from 200 to 400 households adds some and removes none, whatever order they come in."""
    small, large = sorted((one, other))

    assert set(sample(households, small)) <= set(sample(sorted(households), large)) <= households
    assert len(sample(households, small)) == min(small, len(households))


@given(st.datetimes(min_value=datetime(2018, 1, 2), timezones=st.just(UTC)))  # noqa: DTZ001  hypothesis adds the zone
def test_a_shift_is_the_most_whole_weeks_up_to_now(now: datetime) -> None:
    """Whole weeks keep weekdays; one week more would tell of the future."""
    shift = whole_weeks(LAST, now)

    assert shift % timedelta(weeks=1) == timedelta(0)
    assert LAST + shift <= now < LAST + shift + timedelta(weeks=1)


def test_a_shift_is_recorded_once_whoever_comes_first(tmp_path: Path) -> None:
    """Processes that start together, months apart by their clocks, shift alike, and leave one whole file."""
    path = tmp_path / "demo" / "shift.json"
    clocks = [NOW + timedelta(weeks=weeks) for weeks in range(16)]
    with ThreadPoolExecutor(16) as pool:
        shifts = list(pool.map(lambda now: recorded_shift(path, LAST, now), clocks))

    assert len(set(shifts)) == 1
    assert json.loads(path.read_text())["weeks"] * timedelta(weeks=1) == shifts[0]
    assert [file.name for file in path.parent.iterdir()] == ["shift.json"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"weeks": "soon"}'])
def test_a_damaged_shift_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    """Guessing a new shift would put a household's events into two years."""
    path = tmp_path / "shift.json"
    path.write_text(content)

    with pytest.raises(SourceError, match=r"shift\.json holds no shift"):
        recorded_shift(path, LAST, NOW)


def test_the_committed_actions_follow_from_the_data() -> None:
    """`policies/actions.yaml` is what the command derives, to the letter."""
    assert (CHECKOUT / "policies" / "actions.yaml").read_text() == actions_yaml()


def test_actions_are_the_offers_that_were_redeemed_often_enough(tables: Tables) -> None:
    """One action for each category with 25 redemptions or more, in order, each worth more than it costs."""
    redemptions = Counter(tables["outcomes"]["action"].to_pylist())
    ids = [action["id"] for action in ACTIONS]

    assert ids == sorted(action for action, count in redemptions.items() if count >= 25)
    assert len(ids) == 26
    assert all(0 < action["cost"] < action["value"] for action in ACTIONS)


def test_an_actions_value_is_the_mean_of_its_redemptions(tables: Tables) -> None:
    """The value in the policy and the values in the outcomes are one definition, up to cents."""
    means = tables["outcomes"].group_by("action").aggregate([("value", "mean")]).to_pylist()
    by_action = {row["action"]: row["value_mean"] for row in means}

    for action in ACTIONS:
        assert action["value"] == pytest.approx(by_action[action["id"]], abs=0.01)


def test_rules_are_expressions_over_features() -> None:
    """Every rule compiles and answers yes or no for a customer of whom nothing is known."""
    names = [f"category_spend_182d__{action['id']}" for action in ACTIONS]
    names += ["kids_count_ordinal", "baskets_28d", "department_share_91d__meat", "department_share_91d__drug_gm"]
    names += ["weather_temperature"]
    unknown = dict.fromkeys(names, 0.0)
    rules = [
        rule
        for action in ACTIONS
        for tier in ("eligibility", "applicability", "suitability")
        for rule in action.get(tier, [])
    ]

    assert len(rules) == 7
    assert [cel.evaluate(rule, unknown) for rule in rules] == [False] * 7


def test_a_line_that_two_coupons_cover_counts_once() -> None:
    """The sales of all redemptions together are what redeeming households bought of the coupons' products."""
    covered = """
    SELECT sum(sales_value + coupon_match_disc) FROM (
        SELECT DISTINCT transactions.*
        FROM coupon_redemptions
        JOIN coupons USING (coupon_upc, campaign_id)
        JOIN transactions USING (household_id, product_id)
        WHERE timezone('UTC', transaction_timestamp) >= local_midnight(redemption_date)
            AND timezone('UTC', transaction_timestamp) < local_midnight(redemption_date + INTERVAL 1 DAY)
    )
    """
    with closing(connect(timedelta(0))) as con:
        ((expected,),) = con.execute(covered).fetchall()
        ((total,),) = con.execute("SELECT sum(sales) FROM redemption").fetchall()

    assert float(total) == pytest.approx(expected, abs=0.01)
