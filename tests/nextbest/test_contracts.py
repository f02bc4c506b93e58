import copy
from typing import Any

import pyarrow as pa
import pytest

from nextbest.contracts import ContractError, Fairness, Freshness, Rule, Tolerance, contract_from_odcs

VISITS: dict[str, Any] = {
    "name": "visits",
    "version": "1.2.0",
    "description": {"purpose": "Who came when."},
    "team": {"name": "shop"},
    "slaProperties": [
        {"property": "freshness", "value": 1, "unit": "d", "element": "visits.occurred_at"},
        {"property": "retention", "value": 2, "unit": "y"},
    ],
    "customProperties": [{"property": "purposes", "value": ["analytics"]}],
    "schema": [
        {
            "name": "visits",
            "quality": [
                {"metric": "rowCount", "mustBeGreaterThan": 0},
                {"type": "custom", "engine": "nextbest", "implementation": {"drift": 0.2}},
                {
                    "type": "custom",
                    "engine": "nextbest",
                    "implementation": {"volume": 0.5},
                    "customProperties": [{"property": "onViolation", "value": "stop"}],
                },
            ],
            "properties": [
                {"name": "visit_id", "logicalType": "string", "physicalType": "VARCHAR", "primaryKey": True},
                {
                    "name": "minutes",
                    "logicalType": "integer",
                    "physicalType": "BIGINT",
                    "unique": True,
                    "logicalTypeOptions": {"minimum": 0},
                    "customProperties": [{"property": "onViolation", "value": "stop"}],
                    "quality": [
                        {
                            "metric": "invalidValues",
                            "arguments": {"validValues": [1, 2]},
                            "customProperties": [{"property": "onViolation", "value": "warn"}],
                        },
                        {"type": "custom", "engine": "nextbest", "implementation": {"maximum": 90}},
                    ],
                },
                {
                    "name": "occurred_at",
                    "logicalType": "timestamp",
                    "physicalType": "TIMESTAMPTZ",
                    "required": True,
                    "partitioned": True,
                },
                {
                    "name": "customer_id",
                    "logicalType": "string",
                    "physicalType": "VARCHAR",
                    "classification": "pii",
                    "relationships": [{"to": "customers.customer_id"}],
                },
            ],
        }
    ],
}


def test_reads_what_the_contract_promises() -> None:
    """The contract as a whole: kind, key, volume, purposes and the service levels in days."""
    contract = contract_from_odcs(VISITS)
    assert (contract.kind, contract.event_time, contract.key) == ("events", "occurred_at", ("visit_id",))
    assert (contract.min_rows, contract.purposes, contract.owner) == (1, ("analytics",), "shop")
    assert (contract.freshness, contract.retention_days) == (Freshness(1, "occurred_at"), 730)
    assert (contract.volume, contract.drift) == (Tolerance(0.5, "stop"), Tolerance(0.2))


def test_reads_each_rule_with_its_own_behaviour() -> None:
    """A field's behaviour holds for its own rules; a quality rule and a relationship state theirs."""
    visit_id, minutes, _, customer_id = contract_from_odcs(VISITS).fields
    assert visit_id.rules == (Rule("required"),)
    assert minutes.rules == (
        Rule("unique", on_violation="stop"),
        Rule("minimum", 0, "stop"),
        Rule("enum", ("1", "2"), "warn"),
        Rule("maximum", 90),
    )
    assert customer_id.rules == (Rule("reference", "customers.customer_id"),)
    assert customer_id.reference == "customers.customer_id"
    assert customer_id.is_pii


def test_reads_how_alike_models_must_treat_whom() -> None:
    """The groups of protected fields, by the contract's limits."""
    document = copy.deepcopy(VISITS)
    document["customProperties"].append(_fair())
    document["schema"][0]["properties"][3]["customProperties"] = [{"property": "protected", "value": True}]
    contract = contract_from_odcs(document)
    assert contract.fairness == Fairness(0.2, 0.8, 0.1)
    assert contract.protected == ("customer_id",)
    assert contract_from_odcs(VISITS).fairness is None


def test_gives_the_arrow_schema() -> None:
    """Times are UTC in microseconds, whatever the delivery has."""
    schema = contract_from_odcs(VISITS).schema
    assert schema.field("occurred_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("minutes").type == pa.int64()


def test_a_contract_without_event_time_is_a_snapshot() -> None:
    """Nothing else says which kind a contract is."""
    document = copy.deepcopy(VISITS)
    document["schema"][0]["properties"][2]["partitioned"] = False
    assert contract_from_odcs(document).kind == "snapshot"


def _set(document: dict[str, Any], key: str, value: object) -> None:
    document[key] = value


def _fair(**others: float) -> dict[str, Any]:
    limits = {"selected_share": 0.2, "selection_rate_ratio": 0.8, "calibration_error": 0.1}
    return {"property": "fairness", "value": limits | others}


def _custom(name: str, value: float) -> dict[str, Any]:
    return {"type": "custom", "engine": "nextbest", "implementation": {name: value}}


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("document", "version", "1.٢.0", "contract visits: .*MAJOR.MINOR.PATCH"),
        (
            "table",
            "quality",
            [{"metric": "duplicateValues", "mustBe": 0}],
            "there is no rule duplicateValues of a whole",
        ),
        ("table", "quality", [_custom("volum", 0.4)], "there is no rule {'volum': 0.4} of a whole delivery"),
        ("table", "quality", [_custom("volume", -1)], "visits, volume: the limit is -1"),
        (
            "document",
            "slaProperties",
            [{"property": "retention", "value": 1, "unit": "mo"}],
            "retention is 1 mo: .*days",
        ),
        (
            "field",
            "quality",
            [{"metric": "invalidValues", "arguments": {"validValues": [1]}, "mustBeLessThan": 5, "mustBe": 1}],
            "field minutes: .*`mustBe: 0`",
        ),
        ("document", "version", "1.2", "contract visits: .*MAJOR.MINOR.PATCH"),
        ("document", "schema", [], "contract visits: .*one schema object"),
        ("document", "schema", None, "contract visits: .*one schema object"),
        ("document", "team", None, "contract visits"),
        ("field", "physicalType", "DECIMAL", "contract visits, field minutes: physicalType DECIMAL"),
        ("field", "customProperties", [{"property": "onViolation", "value": "shout"}], "field minutes: .*'shout'"),
        ("field", "logicalTypeOptions", {"exclusiveMinimum": 0}, "field minutes: .* no rule exclusiveMinimum"),
        ("document", "customProperties", [{"property": "onStale", "value": "cry"}], "visits, freshness: .*'cry'"),
        ("document", "customProperties", [_fair(selected_share=1.2)], "fairness: selected_share is 1.2: .*up to 1"),
        (
            "document",
            "customProperties",
            [_fair(ratio=0.8)],
            "visits, fairness: it takes selected_share, .*, not .*ratio",
        ),
        ("field", "customProperties", [{"property": "protected", "value": "yes"}], "field minutes: .*'yes'"),
        ("field", "quality", [{"metric": "nullValues", "arguments": {"a": 1}}], "field minutes: .* no rule nullValues"),
    ],
)
def test_refuses_what_cannot_be_enforced(part: str, key: str, value: object, message: str) -> None:
    """A promise nobody keeps is worse than none: the message names contract and field."""
    document = copy.deepcopy(VISITS)
    table = document["schema"] and document["schema"][0]
    parts = {"document": document, "table": table, "field": table["properties"][1]}
    _set(parts[part], key, value)
    with pytest.raises(ContractError, match=message):
        contract_from_odcs(document)
