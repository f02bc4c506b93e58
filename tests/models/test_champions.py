"""Who acts: by the verdict of a gate, a person's word, a shadow's second look, or going back."""

from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest
from mlflow import MlflowClient

from models import lifecycle
from models.candidate import Candidate, Champion, Registered
from models.champions import Champions
from models.frames import TrainingSet
from models.gates import Check
from models.recipes import clv
from models.registry import Registry
from models.versions import CHAMPION, GATE_SHA256, HISTORY, SHADOW, RegistryError
from nextbest.settings import Settings

pytestmark = pytest.mark.integration


def test_a_version_killed_before_its_gate_was_through_is_promoted_by_nobody(
    settings: Settings, clv_data: TrainingSet, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its verdict comes last: with it, and without the hash that was judged, it would be champion and never serve."""
    tag = MlflowClient.set_model_version_tag

    def killed(self: MlflowClient, name: str, version: str, key: str, value: str) -> None:
        if key == GATE_SHA256:
            raise KeyboardInterrupt
        tag(self, name, version, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_model_version_tag", killed)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.run(settings, clv.RECIPE, clv_data, now)
    with pytest.raises(RegistryError, match="never judged"):
        Champions(Registry(settings)).promote(clv.NAME, "1")


def test_a_version_that_fails_its_gate_is_registered_with_the_reason_and_not_champion(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """The alias stays where it was, and nobody promotes it by hand either."""
    lifecycle.run(settings, clv.RECIPE, clv_data, now)
    frame = clv_data.frame.assign(spend_next_91d=1.01 * clv_data.frame["spend_prior_91d"])
    blocked = lifecycle.run(settings, clv.RECIPE, TrainingSet(frame=frame, action_features={}, contracts={}), now)
    assert (blocked.version, blocked.alias, blocked.gate.passed) == ("2", None, False)
    assert "gain over last_91_days" in client.get_model_version(clv.NAME, "2").tags["gate_reason"]
    assert client.get_model_version_by_alias(clv.NAME, CHAMPION).version in {1, "1"}
    registry = Registry(settings)
    with pytest.raises(RegistryError, match="did not pass its gate"):
        Champions(registry).promote(clv.NAME, "2")
    with pytest.raises(RegistryError, match="no version 7"):
        Champions(registry).promote(clv.NAME, "7")


def test_a_version_is_promoted_by_name(settings: Settings, two_versions: tuple[Registered, Registered]) -> None:
    """Going back to an older version is a promotion like any other."""
    assert two_versions
    registry = Registry(settings)
    Champions(registry).promote(clv.NAME, "1")
    champion = registry.champion_version(clv.NAME)
    assert champion is not None
    assert champion.version == "1"
    assert [version.is_champion for version in registry.versions(clv.NAME)] == [False, True]


def test_a_version_of_which_too_little_is_known_becomes_the_shadow(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """Against a champion that has seen all there is, nothing tells which is better: a person may still decide."""
    first = lifecycle.run(settings, clv.RECIPE, clv_data, now)
    assert first.alias == CHAMPION
    later = replace(
        clv_data, frame=clv_data.frame.assign(cutoff_at=clv_data.frame["cutoff_at"] - pd.Timedelta(days=364))
    )
    second = lifecycle.run(settings, clv.RECIPE, later, now)
    assert (second.alias, second.gate.verdict) == (SHADOW, "undecided")
    assert "no data after both trainings" in client.get_model_version(clv.NAME, "2").tags["gate_reason"]
    registry = Registry(settings)
    shadow = registry.shadow_version(clv.NAME)
    assert shadow is not None
    assert shadow.version == "2"
    Champions(registry).promote(clv.NAME, "2")
    assert registry.current(clv.NAME).version == "2"


def test_a_shadow_is_looked_at_again_when_there_is_more_data(
    settings: Settings, clv_data: TrainingSet, client: MlflowClient, now: datetime
) -> None:
    """Later cut-offs that neither has seen: as good as the champion, it takes its place before anything is trained."""
    frame = clv_data.frame
    lifecycle.run(settings, clv.RECIPE, clv_data, now)
    older = replace(clv_data, frame=frame.assign(cutoff_at=frame["cutoff_at"] - pd.Timedelta(days=364)))
    assert lifecycle.run(settings, clv.RECIPE, older, now).alias == SHADOW
    later = replace(clv_data, frame=frame.assign(cutoff_at=frame["cutoff_at"] + pd.Timedelta(days=182)))
    third = lifecycle.run(settings, clv.RECIPE, later, now)
    tags = client.get_model_version(clv.NAME, "2").tags
    assert (tags["gate"], third.version) == ("passed", "3")
    assert tags["gate_reason"].startswith("gain over the champion is ")
    assert Champions(Registry(settings)).rollback(clv.NAME) == "2"
    assert Champions(Registry(settings)).rollback(clv.NAME) == "1"


def test_a_shadow_that_somebody_decided_of_meanwhile_is_left_alone(
    settings: Settings, client: MlflowClient, two_versions: tuple[Registered, Registered]
) -> None:
    """It was compared with version 1; then somebody made version 2 champion, or took it out of the shadow."""
    assert two_versions
    registry, met = Registry(settings), Check("not_worse_than_champion", "not_worse", "met", "as good")
    for rival, number in (("1", "2"), ("2", "1")):
        Champions(registry).promote(clv.NAME, rival)
        client.set_registered_model_alias(clv.NAME, SHADOW, number)
        shadow = registry.shadow_version(clv.NAME)
        assert shadow is not None
        client.delete_registered_model_alias(clv.NAME, SHADOW)
        Champions(registry).reconsider(shadow, met, rival)
        client.set_registered_model_alias(clv.NAME, SHADOW, number)
        Champions(registry).reconsider(shadow, met, "7")
        assert registry.current(clv.NAME).version == rival
        assert client.get_model_version(clv.NAME, number).tags["gate_reason"] != "as good"


def test_a_champion_of_meanwhile_is_not_replaced_by_what_was_not_compared_with_it(
    settings: Settings, clv_data: TrainingSet, two_versions: tuple[Registered, Registered], now: datetime
) -> None:
    """Somebody goes back to version 1 while version 3 is trained, which was compared with version 2."""
    assert two_versions
    registry = Registry(settings)

    def build(data: TrainingSet, champion: Champion | None) -> Candidate:
        candidate = clv.build(data, champion)
        assert Champions(registry).rollback(clv.NAME) == "1"
        return candidate

    frame = clv_data.frame
    later = replace(clv_data, frame=frame.assign(cutoff_at=frame["cutoff_at"] + pd.Timedelta(days=182)))
    third = lifecycle.run(settings, replace(clv.RECIPE, build=build), later, now)
    assert (third.version, third.alias, third.gate.verdict) == ("3", SHADOW, "undecided")
    assert "version 1 became champion during the training, when version 2 was" in third.gate.reason
    assert registry.current(clv.NAME).version == "1"


def test_a_rollback_passes_over_what_was_deleted(
    settings: Settings, client: MlflowClient, two_versions: tuple[Registered, Registered]
) -> None:
    """Also where it is the champion that was deleted."""
    assert two_versions
    registry = Registry(settings)
    for number in ("1", "2"):
        Champions(registry).promote(clv.NAME, number)
    client.set_registered_model_tag(clv.NAME, HISTORY, "1 2 7 2")
    client.delete_model_version(clv.NAME, "2")
    assert registry.champion_version(clv.NAME) is None
    assert Champions(registry).rollback(clv.NAME) == "1"
    with pytest.raises(RegistryError, match="no champion before this one"):
        Champions(registry).rollback("churn")


def test_a_champion_that_was_rolled_back_meanwhile_is_not_noted(
    settings: Settings, client: MlflowClient, two_versions: tuple[Registered, Registered]
) -> None:
    """The follower published it a moment ago: noted now, the next rollback would bring it back."""
    assert two_versions
    registry = Registry(settings)
    published = registry.current(clv.NAME)
    assert Champions(registry).rollback(clv.NAME) == "1"
    Champions(registry).note(published)
    assert client.get_registered_model(clv.NAME).tags[HISTORY] == "1"
