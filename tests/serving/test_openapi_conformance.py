import asyncio, collections, time
from typing import Any

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.engine import events


@pytest.fixture
def described(replica: Any, settings: Any, publish: Any) -> Any:
    publish(settings, 0.1)
    asyncio.run(replica.start())
    config = schemathesis.Config(seed=1)
    schema = schemathesis.openapi.from_asgi("/openapi.json", replica.application, config=config)
    schema.config.update(headers={"Authorization": f"Bearer {replica.key}"}, continue_on_failure=True)
    schema.config.generation.update(max_examples=20, deterministic=True)
    schema.config.checks.negative_data_rejection.expected_statuses = [
        *schema.config.checks.negative_data_rejection.expected_statuses,
        "413",
    ]
    return schema


def test_conformance(described: Any) -> None:
    found = collections.Counter()
    first = {}
    took = collections.Counter()
    n = collections.Counter()
    for event in engine.from_schema(described).execute():
        if isinstance(event, (events.NonFatalError, events.FatalError)):
            print(
                "ERROR",
                event.__class__,
                getattr(event, "value", None) or getattr(event, "exception", None),
                getattr(event, "label", ""),
            )
        if isinstance(event, events.ScenarioFinished):
            took[event.phase, event.recorder.label] += event.elapsed_time
            n[event.phase, event.recorder.label] += len(event.recorder.interactions)
            for case_id, checks in event.recorder.checks.items():
                for check in checks:
                    if check.failure_info is not None:
                        f = check.failure_info.failure
                        key = (event.recorder.label, check.name, f.title, f.message[:300])
                        found[key] += 1
                        i = event.recorder.interactions.get(case_id)
                        first.setdefault(
                            key,
                            (
                                check.failure_info.code_sample[:600],
                                i and i.response and (i.response.status_code, i.response.content[:400]),
                            ),
                        )
    for key, count in found.most_common():
        print(count, *key, sep=" | ")
        print("      ", *first[key], sep="\n      ")
    for k, t in took.most_common(30):
        print(f"{t:.1f}", n[k], k)
    assert not found
