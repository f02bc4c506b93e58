"""`nextbest replay` and `nextbest why-not`, on a home with decisions in its log and nothing running."""

import asyncio
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression

from nextbest import cli, records
from nextbest.adapters.bundles import write_bundle
from nextbest.adapters.onnx import Scorer
from nextbest.adapters.policy_archive import archive, load
from nextbest.adapters.policy_files import FILES
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.commands.explain import replay, why_not
from nextbest.decision import decide, settle
from nextbest.envelope import Envelope
from nextbest.erasure import without_customer
from nextbest.errors import NextbestError
from nextbest.messages import Profile, Request
from nextbest.model_set import FeatureSpec, Model, model_set
from nextbest.policy import Policy
from nextbest.policy_document import PolicyDocument
from nextbest.records import DecisionRecord, Snapshot
from nextbest.reservations import reserve
from nextbest.settings import Settings
from nextbest.situation import Models

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, document: dict[str, Any]) -> Settings:
    """A home whose policy, which asks no model and explores nothing, is archived."""
    document["arbitration"] |= {"formula": {"use_propensity": False}, "exploration": {"strategy": "greedy"}}
    document["experiments"] = {
        "shadows": [{"id": "cautious", "changes": {"levers": {"apples": 10, "bread": 10, "cheese": 10}}}]
    }
    document["placements"]["placements"][0]["slots"] = 1
    settings = Settings(home=tmp_path)
    archive(settings.policies_archive, PolicyDocument.model_validate(document))
    return settings


def _policy(settings: Settings) -> Policy:
    (path,) = settings.policies_archive.glob("*.json")
    return load(settings.policies_archive, path.stem)


def _logged(settings: Settings, policy: Policy, models: Models | None = None, **changes: Any) -> DecisionRecord:
    """A decision of the engine as serving would have logged it."""
    shadow = changes.pop("shadow", "")
    request = Request(
        decision_id="d1",
        request_id="r1",
        customer_id="c1",
        placements=("home",),
        mode="shadow" if shadow else "live",
        shadow=shadow,
    )
    profile, snapshot = Profile(features={"spend_91d": 50.0}), Snapshot(consents={"marketing": "granted"})
    proposal = decide(request, profile, policy, models, snapshot, NOW)
    record = msgspec.structs.replace(settle(proposal, reserve(proposal, (), NOW)[0]), **changes)
    entries = [
        Envelope(
            event_id=f"decisions/d1/{row['slot']}",
            type="decision",
            contract="decisions",
            contract_version="1.0.0",
            source="live",
            occurred_at=NOW,
            received_at=NOW,
            partition_key="c1",
            decision_id="d1",
            properties=row,
        )
        for row in records.rows(record)
    ]
    log = SqliteLog(settings.event_log)
    log.append_sync(entries)
    log.close()
    return record


def _run(settings: Settings, command: Any, *arguments: str) -> Result:
    return CliRunner(env={"NEXTBEST_HOME": str(settings.home)}).invoke(command, arguments)


def test_a_decision_is_made_again(home: Settings) -> None:
    """The record, its policy out of the archive, and the same answer; asking changes nothing in the home."""
    _logged(home, _policy(home))
    files = {path: path.read_bytes() for path in home.state.rglob("*") if path.is_file()}
    result = _run(home, replay, "d1")
    assert (result.exit_code, result.output) == (
        0,
        "decision d1 (live, 2026-03-04 05:06:07 UTC): identical, bit for bit\n",
    )
    assert {path: path.read_bytes() for path in home.state.rglob("*") if path.is_file()} == files


def test_a_shadow_decision_is_made_again(home: Settings) -> None:
    """Under the policy that shadowed."""
    record = _logged(home, _policy(home), shadow="cautious")
    assert record.placements[0].slots[0].action == "dates"
    result = _run(home, replay, "d1")
    assert result.exit_code == 0
    assert "(shadow, shadow policy cautious, " in result.output
    assert "under the shadow policy cautious" in _run(home, why_not, "d1", "apples").output


def test_a_difference_is_named(home: Settings) -> None:
    """What was recorded and what comes out now, and who decided, where that is another version."""
    _logged(home, _policy(home), tier="reduced", code_version="0.0.1", candidates=())
    result = _run(home, replay, "d1")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0] == "decision d1 (live, 2026-03-04 05:06:07 UTC): 7 differences"
    assert '  degraded[0]: recorded nothing, now "deadline"' in lines
    assert any(line.startswith("  candidates[home/apples/apples_home]: recorded nothing, now {") for line in lines)
    assert lines[-1].startswith("decided by nextbest 0.0.1, and again by ")
    answer = json.loads(_run(home, replay, "d1", "--json").output)
    assert (answer["identical"], answer["code_version"]["recorded"], len(answer["differences"])) == (False, "0.0.1", 7)


def test_models_come_out_of_their_bundle(home: Settings, document: dict[str, Any]) -> None:
    """The set that decided is loaded; without it the command says how to have it back."""
    rows = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 1.0], [100.0, 1.0]], dtype=np.float32)
    classifier = LogisticRegression().fit(rows, [0, 1, 0, 1])
    exported = to_onnx(
        classifier,
        initial_types=[("features", FloatTensorType([None, 2]))],
        options={LogisticRegression: {"zipmap": False}},
    )
    content = bytes(exported.SerializeToString())
    propensity = Model(
        name="propensity",
        version="1",
        run_id="run",
        file="propensity.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        features=(FeatureSpec("spend_91d", "customer"), FeatureSpec("campaign_type_a", "context")),
        output="probability",
    )
    made = model_set([propensity], NOW)
    write_bundle(home.bundles, made, {"propensity.onnx": content})
    document["arbitration"]["formula"] = {}
    name = archive(home.policies_archive, PolicyDocument.model_validate(document))
    _logged(home, load(home.policies_archive, name), Scorer.load(home.bundles, made.id))
    assert _run(home, replay, "d1").exit_code == 0
    assert "lever of dates: 100 % → " in _run(home, why_not, "d1", "dates").output
    (home.bundles / made.id / "manifest.json").unlink()
    result = _run(home, replay, "d1")
    assert isinstance(result.exception, NextbestError)
    assert "promote the same versions again with `nextbest models promote`" in str(result.exception)


def test_why_not_answers_in_words_and_in_json(home: Settings) -> None:
    """The text names the change; JSON has it in parts."""
    _logged(home, _policy(home))
    result = _run(home, why_not, "d1", "dates", "--placement", "home")
    assert result.exit_code == 0
    assert result.output.startswith(
        "dates would be the first choice of home if:\n  1. lever of dates: 100 % → 247.51 %"
    )
    answer = json.loads(_run(home, why_not, "d1", "dates", "--json").output)
    assert (answer["verdict"], answer["placement"], answer["fills"]) == ("would_win", "home", True)
    assert [(step["kind"], step["before"]) for step in answer["steps"]] == [("lever", 100.0)]


def test_a_policy_that_was_not_archived_may_be_that_of_the_files(home: Settings, document: dict[str, Any]) -> None:
    """Only if it is the very same; otherwise both places are named."""
    policy = _policy(home)
    _logged(home, policy)
    (home.policies_archive / f"{policy.hash}.json").unlink()
    result = _run(home, replay, "d1")
    assert isinstance(result.exception, NextbestError)
    assert f"policy {policy.hash} is not in the archive" in str(result.exception)
    assert "nor is it the policy in " in str(result.exception)
    folder = home.home / "policies"
    folder.mkdir()
    for name in FILES:
        (folder / f"{name}.yaml").write_bytes(msgspec.json.encode(document[name]))
    assert _run(home, replay, "d1").exit_code == 0


@pytest.mark.parametrize("command", [replay, why_not])
def test_an_unknown_decision_says_what_to_do(home: Settings, command: Any) -> None:
    """Without a log, and with a log of other decisions."""
    arguments = ["d2"] if command is replay else ["d2", "apples"]
    assert "nothing was decided in this home yet" in str(_run(home, command, *arguments).exception)
    assert not home.event_log.exists()
    _logged(home, _policy(home))
    assert "no decision d2 is in the log" in str(_run(home, command, *arguments).exception)


@pytest.mark.parametrize("command", [replay, why_not])
def test_a_decision_of_an_erased_customer_is_not_explained(home: Settings, command: Any) -> None:
    """What it was made from is gone on purpose: no search for it, and no guess."""
    _logged(home, _policy(home))
    log = SqliteLog(home.event_log)
    asyncio.run(log.replace([(offset, without_customer(entry)) for offset, entry in log.read_sync(0, 10)]))
    log.close()
    arguments = ["d1"] if command is replay else ["d1", "apples"]
    assert "was erased" in str(_run(home, command, *arguments).exception)


def test_what_cannot_be_answered_ends_with_one_line(
    home: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1, and no stack trace."""
    _logged(home, _policy(home))
    monkeypatch.setenv("NEXTBEST_HOME", str(home.home))
    monkeypatch.setattr("sys.argv", ["nextbest", "why-not", "d1", "appels"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith("has no action appels; did you mean 'apples'?\n")


def test_another_policy_under_the_same_name_is_refused(home: Settings) -> None:
    """A record says which policy decided; the file of that name must be it."""
    policy = _policy(home)
    _logged(home, replace(policy, hash="0123456789abcdef"))
    content = (home.policies_archive / f"{policy.hash}.json").read_bytes()
    (home.policies_archive / "0123456789abcdef.json").write_bytes(content)
    assert "was changed since it was written" in str(_run(home, replay, "d1").exception)
