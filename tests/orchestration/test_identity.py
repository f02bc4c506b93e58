"""Tests of `orchestration.defs.identity`: links that are sure go to the log once, and a person's word stands."""

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from nextbest.adapters.complete_journey.people import as_typed, person
from nextbest.adapters.link_files import read_proposals, read_verdicts
from nextbest.envelope import Envelope
from nextbest.erasure import erasure, without_customer
from nextbest.identity import unlink
from nextbest.links import BY_MODEL
from nextbest.settings import Settings
from orchestration.defs.identity import LINKS, identity_links
from orchestration.defs.resources import Workspace
from orchestration.pages import page_path
from orchestration.unchanged import FULL_TAG

PEOPLE, TWICE = 300, 80


@dataclass(frozen=True, slots=True)
class Linked:
    """A home in which links were made for the first time, what that said, and a copy of it as it was then."""

    settings: Settings
    said: Mapping[str, Any]
    kept: Path


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Workspace, dg.DagsterInstance]]:
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.local_temp(str(settings.dagster_home)) as instance:
        for name, value in settings.environment().items():
            patch.setenv(name, value)
        yield Workspace(), instance


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Linked:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    with _opened(settings) as (workspace, instance):
        _stage(workspace, PEOPLE, TWICE)
        said = _run(workspace, instance)
    kept = tmp_path_factory.mktemp("kept")
    shutil.copytree(settings.home, kept, dirs_exist_ok=True)
    return Linked(settings, said, kept)


@pytest.fixture
def home(linked: Linked) -> Iterator[tuple[Workspace, dg.DagsterInstance]]:
    """The home as the first run left it."""
    shutil.rmtree(linked.settings.home)
    shutil.copytree(linked.kept, linked.settings.home)
    with _opened(linked.settings) as opened:
        yield opened


@pytest.fixture
def workspace(home: tuple[Workspace, dg.DagsterInstance]) -> Workspace:
    return home[0]


@pytest.fixture
def instance(home: tuple[Workspace, dg.DagsterInstance]) -> dg.DagsterInstance:
    return home[1]


def _stage(workspace: Workspace, people: int, twice: int) -> None:
    """Identities in the warehouse, as dbt stages them: some people have a second id."""
    rows = [{"customer_id": f"c{each}", **person(str(each))} for each in range(people)]
    rows += [{"customer_id": f"w{each}", **as_typed(person(str(each)), f"w{each}")} for each in range(twice)]
    warehouse = workspace.settings.warehouse
    warehouse.parent.mkdir(parents=True, exist_ok=True)
    with closing(duckdb.connect(warehouse)) as connection:
        connection.register("rows", pa.Table.from_pylist(rows))
        connection.execute("CREATE SCHEMA IF NOT EXISTS staging")
        connection.execute("CREATE OR REPLACE TABLE staging.stg_identities AS FROM rows")


def _run(workspace: Workspace, instance: dg.DagsterInstance, **tags: str) -> dict[str, Any]:
    """Materialize the asset; returns its metadata."""
    result = dg.materialize([identity_links], instance=instance, resources={"workspace": workspace}, tags=tags)
    [event] = [each for each in result.get_asset_materialization_events() if each.asset_key == LINKS]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def _log(workspace: Workspace) -> list[Envelope]:
    with workspace.log() as log:
        return [entry for _, entry in log.read_sync(0, 1_000)]


def test_what_is_sure_is_linked_once(linked: Linked, workspace: Workspace, instance: dg.DagsterInstance) -> None:
    """By the log, with its probability; the rest is shown; unchanged rows are no work, and a full run adds nothing."""
    said = linked.said
    entries = _log(workspace)
    assert said["skipped"] is False
    assert said["applied now"] == said["linked"] == len(entries) > TWICE / 2
    assert said["linked"] + said["waiting for review"] == said["proposed"]
    assert all(entry.type == "link" and entry.properties["by"] == BY_MODEL for entry in entries)
    assert all(entry.properties["probability"] >= 0.95 for entry in entries)
    assert _run(workspace, instance)["skipped"] is True
    again = _run(workspace, instance, **{FULL_TAG: "true"})
    assert (again["applied now"], again["linked"]) == (0, said["linked"])
    assert _log(workspace) == entries
    page = page_path(workspace.settings, "identity", "identity_links").read_text()
    assert page.count("<svg") == said["proposed"]


def test_what_a_person_took_back_is_not_linked_again(
    linked: Linked, workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    """Neither by a run that has the same rows, nor by one that has more."""
    first = _log(workspace)[0].properties
    pair = (first["customer_id"], first["other_id"])
    with workspace.log() as log:
        log.append_sync([unlink(*pair, datetime.now(UTC), by="review")])
    _stage(workspace, PEOPLE + 1, TWICE)
    said = _run(workspace, instance)
    assert said["skipped"] is False
    assert (said["taken back"], said["linked"]) == (1, linked.said["linked"] - 1 + said["applied now"])
    with workspace.log() as log:
        assert read_verdicts(log)[pair] == "split"


def test_who_was_erased_is_neither_linked_nor_proposed_again(
    linked: Linked, workspace: Workspace, instance: dg.DagsterInstance
) -> None:
    """Erasing empties what the log said of the pair, a person's split too; rows and proposals may have it still."""
    with workspace.log() as log:
        [(offset, first)] = log.read_sync(0, 1)
        asyncio.run(log.replace([(offset, without_customer(first))]))
        gone = first.properties["customer_id"]
        log.append_sync([erasure("erasure/1", gone, datetime.now(UTC))])
    said = _run(workspace, instance)
    assert (said["skipped"], said["applied now"]) == (False, 0)
    assert said["proposed"] < linked.said["proposed"]
    found = read_proposals(workspace.settings.proposed_links)
    assert found is not None
    assert not any(gone in each.pair for each in found.proposals)
    assert _run(workspace, instance)["skipped"] is True


def test_a_log_that_was_lost_is_told_again(linked: Linked, workspace: Workspace, instance: dg.DagsterInstance) -> None:
    """Links are of the log: what is not in it is not there, whatever the last run did."""
    for file in workspace.settings.event_log.parent.iterdir():
        file.unlink()
    assert _run(workspace, instance)["applied now"] == linked.said["linked"]


def test_a_home_with_too_little_to_learn_from_says_so(tmp_path: Path) -> None:
    """Few people, or identifiers of which nobody says who gave them: nothing is linked, and nothing fails."""
    with _opened(Settings(home=tmp_path)) as (workspace, instance):
        _stage(workspace, 5, 1)
        assert "it takes 20" in _run(workspace, instance)["nothing was proposed"]
        with closing(duckdb.connect(workspace.settings.warehouse)) as connection:
            connection.execute("CREATE OR REPLACE TABLE staging.stg_identities AS SELECT 'c1' AS customer_id")
        assert "nothing to compare" in _run(workspace, instance)["nothing was proposed"]
        with closing(duckdb.connect(workspace.settings.warehouse)) as connection:
            connection.execute("DELETE FROM staging.stg_identities")
        assert "has no row" in _run(workspace, instance)["nothing was proposed"]
        assert not _log(workspace)
        found = read_proposals(workspace.settings.proposed_links)
        assert found is not None
        assert not found.proposals
