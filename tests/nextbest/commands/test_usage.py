"""`nextbest policy usage`: what is used of volumes and budgets."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from nextbest.adapters.policy_files import read_policy
from nextbest.adapters.states import open_state
from nextbest.commands.policy import policy
from nextbest.decision import decide
from nextbest.messages import Profile, Request
from nextbest.records import Snapshot
from nextbest.settings import Settings


def test_shows_what_is_used(document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was decided is reserved, in contacts and in money; a new action is shown on its way."""
    apples, bread, *_ = document["actions"]["actions"]
    apples |= {"volume": {"limit": 9, "per": "total"}, "budget": {"amount": 5, "per": "total"}}
    bread |= {"starting": {"propensity": 0.1}}
    document["arbitration"] |= {
        "formula": {"use_propensity": False},
        "exploration": {"strategy": "greedy"},
        "ramp": {"initial_percent": 100, "evidence": 50},
    }
    settings = Settings(home=tmp_path)
    (tmp_path / "policies").mkdir()
    for name, content in document.items():
        (tmp_path / "policies" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    compiled = read_policy(settings.folder("policies"))
    request = Request(decision_id="d", request_id="r", customer_id="c", placements=("home",))
    now = datetime.now(UTC)
    snapshot = Snapshot(consents={"marketing": "granted"})
    with closing(open_state(settings)) as state:
        proposal = decide(request, Profile(features={"spend_91d": 50.0}), compiled, None, snapshot, now)
        asyncio.run(state.reserve(proposal, now))
    monkeypatch.setenv("NEXTBEST_HOME", str(tmp_path))
    result = CliRunner().invoke(policy, ["usage"])
    assert result.exit_code == 0, result.output
    rows = [" ".join(line.replace("━", "").replace("╸", "").split()) for line in result.output.splitlines()]
    assert "apples volume total 0 1 9" in rows
    assert "apples budget total 0.00 USD 0.10 USD 5.00 USD" in rows
    assert "bread reach total 0 0 50" in rows or "bread reach total 0 1 50" in rows
    assert rows[-1] == "0 impressions came after their reservation had expired"
