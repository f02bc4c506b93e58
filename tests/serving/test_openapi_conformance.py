"""What the API's description allows the API does, and what it does not allow the API refuses.

Schemathesis asks a replica for everything its document describes: the examples, every keyword's bounds and what lies
just beyond, values at random both ways, and what the links lead to. Every defect that it found has a plain test beside
what it was a defect of.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.core.failures import AcceptedNegativeData, Failure, ServerError
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.openapi.checks import RejectedPositiveData

from nextbest.settings import Settings
from nextbest.wire import INTAKE
from serving.row_schemas import row_name

SEED, EXAMPLES = 1, 30
TOO_LARGE = "413"
# No leap second, and no 30 February, is among them; the clock of the replica stands at the second of March 2026.
RECENTLY = r"^20(0\d|1\d|2[0-5])-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z$"
NAMES = {"placement": ["home_banner"], "action": ["beef", "milk"]}
LINKS = {
    "decide": ["getDecision", "sendEvents"],
    "evaluateFlag": ["getDecision"],
    "putConsents": ["getConsents"],
    "eraseCustomer": ["exportCustomer"],
    "pauseAction": ["resumeAction"],
    "resumeAction": ["pauseAction"],
}


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for path in document["paths"].values() for operation in path.values())


def links(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [link for answer in operation["responses"].values() for link in answer.get("links", {}).values()]


def as_the_policy_knows(document: dict[str, Any]) -> dict[str, Any]:
    """The document, with what no document can promise: the names of this policy, and what time it is."""
    schemas = document["components"]["schemas"]
    schemas["DecisionRequest"]["properties"]["placements"]["items"] = {"enum": NAMES["placement"]}
    schemas["ConsentsRequest"]["properties"]["consents"]["propertyNames"] = {"enum": ["marketing"]}
    for name in INTAKE:
        time = "linked_at" if name == "identities" else "occurred_at"
        schemas[row_name(name)]["properties"][time] = {"type": "string", "pattern": RECENTLY}
    for message in ("Batch", "Alias", "Group", "Identify", "Page", "Screen", "Track"):
        fields = schemas[f"Segment{message}"]["properties"]
        for name in {"sentAt", "timestamp", "originalTimestamp"} & fields.keys():
            fields[name] = {"anyOf": [{"type": "string", "pattern": RECENTLY}, {"type": "null"}]}
    for operation in operations(document):
        for parameter in operation["parameters"]:
            if names := NAMES.get(parameter["name"]):
                parameter["schema"] = {"enum": names}
        for link in links(operation):
            link["x-schemathesis"] = {"merge_body": False}  # else what is invalid may come out valid, and pass for it
    return document


def is_ours(_context: object, failure: Failure, case: Any, response: schemathesis.Response) -> bool:
    """Whether a failure is one, and not what no schema could know."""
    match failure:
        case AcceptedNegativeData():  # a batch is taken in for its valid rows, and the answer says which are not
            return not (response.status_code in {200, 202} and response.json().get("rejected"))
        case RejectedPositiveData():  # a link comes from a decision that is nobody's, or whose customer was erased
            is_erased = response.status_code == 410 and "customer was erased" in response.text
            return not is_erased and "customer_id is missing" not in response.text
        case ServerError():  # nothing here carries the log into State, and readiness says so in time
            return bool(case.path != "/readyz")
        case _:
            return True


@pytest.fixture
def document(ask: Callable[..., Any], settings: Settings, publish: Callable[[Settings, float], str]) -> dict[str, Any]:
    """What a replica that serves a policy and models says of itself."""
    publish(settings, 0.1)
    content: dict[str, Any] = ask("GET", "/openapi.json").json()
    return content


@pytest.fixture
def schema(replica: Any, document: dict[str, Any]) -> schemathesis.BaseSchema:
    """What schemathesis makes of it."""
    loaded = schemathesis.openapi.from_dict(as_the_policy_knows(document), config=schemathesis.Config(seed=SEED))
    loaded.app = replica.application
    loaded.hook("filter_failure")(is_ours)
    config = loaded.config
    config.update(headers={"Authorization": f"Bearer {replica.key}"}, continue_on_failure=True)
    config.generation.update(max_examples=EXAMPLES, deterministic=True, database="none")
    for check in (config.checks.positive_data_acceptance, config.checks.negative_data_rejection):
        # How many bytes a body may have is nothing that a schema of its parts could say.
        check.expected_statuses = [*check.expected_statuses, TOO_LARGE]
    return loaded


@dataclass
class Findings:
    """What came of a run, by `operationId`."""

    failures: list[str] = field(default_factory=list)
    succeeded: set[str] = field(default_factory=set)
    followed: set[tuple[str, str]] = field(default_factory=set)
    """From which answer to which good one a link led."""

    def add(self, recorder: ScenarioRecorder) -> None:
        names = {case: node.value.operation.definition.raw["operationId"] for case, node in recorder.cases.items()}
        for case, interaction in recorder.interactions.items():
            node = recorder.cases[case]
            if interaction.response is not None and interaction.response.status_code < 300:
                self.succeeded.add(names[case])
                if node.is_transition_applied and node.parent_id is not None:
                    self.followed.add((names[node.parent_id], names[case]))
        for case, checks in recorder.checks.items():
            for check in checks:
                if check.status == Status.FAILURE and (info := check.failure_info):
                    self.failures.append(f"{names[case]}: {check.name}: {info.failure.message}\n{info.code_sample}")


def run(schema: schemathesis.BaseSchema, *phases: str) -> Findings:
    """Everything that these phases of schemathesis find; the same every time."""
    schema.config.phases.update(phases=[*phases])
    found = Findings()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.failures.append(f"schemathesis: {event}")
        if isinstance(event, events.ScenarioFinished):
            found.add(event.recorder)
    return found


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    """By the letter of OpenAPI 3.1, as somebody else reads it."""
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_operation_does_what_is_said_of_it(schema: schemathesis.BaseSchema, document: dict[str, Any]) -> None:
    """Whatever is described is taken, nothing else is, and all that is answered was announced; each succeeds at all."""
    found = run(schema, "examples", "coverage", "fuzzing")
    assert not found.failures, "\n\n".join(found.failures)
    assert found.succeeded == {operation["operationId"] for operation in operations(document)}


def test_the_links_are_those_that_are_followed(document: dict[str, Any]) -> None:
    """A link that nobody tries fails here."""
    described = {
        operation["operationId"]: [link["operationId"] for link in links(operation)]
        for operation in operations(document)
    }
    assert {start: then for start, then in described.items() if then} == LINKS


@pytest.mark.parametrize(("start", "then"), LINKS.items(), ids=LINKS)
def test_links_lead_where_they_say(schema: schemathesis.BaseSchema, start: str, then: list[str]) -> None:
    """With what an answer says the next operation succeeds, and both do what is said of them."""
    found = run(schema.include(operation_id=[start, *then]), "stateful")
    assert not found.failures, "\n\n".join(found.failures)
    assert {(start, each) for each in then} <= found.followed
