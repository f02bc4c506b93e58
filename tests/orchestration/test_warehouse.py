"""Tests of `orchestration.defs.warehouse`: what must agree before dbt starts."""

from pathlib import Path

import pytest
import yaml

from nextbest.adapters.policy_files import read_policy
from nextbest.settings import CHECKOUT, Settings
from orchestration.defs.warehouse import ActionsError, Project, Translator, compare_actions

POLICY = read_policy(CHECKOUT / "policies")
ACTIONS = set(POLICY.actions) - {action.id for action in POLICY.startings}


def project(actions: set[str]) -> Project:
    settings = yaml.safe_dump({"vars": {"actions": sorted(actions)}})
    return Project(CHECKOUT / "dbt_project", {"settings": settings}, Translator(()))


def test_policy_and_warehouse_mean_the_same_actions(tmp_path: Path) -> None:
    """An action without features would be scored as if the customer had never bought of it, without a word."""
    settings = Settings(home=tmp_path)
    compare_actions(settings, project(ACTIONS))
    compare_actions(settings, project(ACTIONS | {"recall_notice"}))  # new, but computed for already
    with pytest.raises(ActionsError, match="only in the policy: beef; only in the variables: tea"):
        compare_actions(settings, project(ACTIONS - {"beef"} | {"tea"}))
