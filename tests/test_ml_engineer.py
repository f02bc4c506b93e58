"""An ML engineer follows docs/ml-engineer.md: the commands of the page, and MLflow's UI in a real browser."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd
import pytest
from playwright.sync_api import Page, expect
from threadpoolctl import threadpool_limits

from models import lifecycle
from models.champions import Champions
from models.frames import TrainingSet
from models.gates import DEMANDS
from models.recipes import clv, propensity
from models.registry import Registry
from models.versions import RegistryError
from nextbest.adapters.bundles import read_bundle
from nextbest.adapters.contract_files import load_contracts
from nextbest.adapters.sqlite_log import SqliteLog
from nextbest.adapters.sqlite_state import SqliteState
from nextbest.adapters.supervisor import Supervisor, free_ports
from nextbest.commands.processes import follower_service, interface_services
from nextbest.intake import envelope
from nextbest.model_set import MODELS, ModelSet
from nextbest.records import Candidate, DecisionRecord, PlacementRecord, SlotRecord, rows
from nextbest.settings import CHECKOUT, Settings
from tests import guides
from tests.models.conftest import CONTRACTS, clv_frame, propensity_frame

pytestmark = pytest.mark.integration

PATIENCE = 60_000
"""Milliseconds for a page of MLflow on a busy machine."""
PATIENCE_S = 30
"""For the follower likewise, which looks every second."""


@pytest.fixture(scope="module")
def commands() -> list[str]:
    return guides.commands("ml-engineer.md")


@dataclass(frozen=True, slots=True)
class Home:
    """A home whose MLflow and follower run, and what landing a decision in it said."""

    settings: Settings
    url: str
    landing: str

    def type(self, line: str) -> str:
        """What a command of the page says, in one line."""
        return _typed(self.settings, line)

    def served(self) -> ModelSet | None:
        """The set that every replica decides by."""
        with closing(SqliteState(self.settings.online_state)) as state, ThreadPoolExecutor(1) as beside:
            # The browser has this thread's loop.
            current = beside.submit(asyncio.run, state.current_model_set()).result()
        return read_bundle(self.settings.bundles, current)[0] if current else None

    def await_version(self, name: str, version: str) -> None:
        """Until the set has this version of a model."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.served()) or found.models[name].version != version:
            assert time.monotonic() < deadline, f"nobody published {name} {version}: {found}"
            time.sleep(0.05)

    def await_versions(self, champion: str, shadow: str | None = None) -> ModelSet:
        """The set once it has these versions of propensity."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.served()) or _versions(found) != (champion, shadow):
            assert time.monotonic() < deadline, f"nobody published version {champion}: {found}"
            time.sleep(0.05)
        return found


def _versions(found: ModelSet) -> tuple[str, str | None]:
    shadow = found.shadows.get("propensity")
    return found.models["propensity"].version, shadow.version if shadow else None


def _typed(settings: Settings, line: str) -> str:
    return " ".join(guides.typed(settings.home.parent, line, variables=settings.environment()).split())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, commands: list[str]) -> Iterator[Home]:
    """After three trainings and a decision; what takes long takes it at the same time."""
    [port] = free_ports("127.0.0.1", 1)
    settings = Settings(home=tmp_path_factory.mktemp("engineer") / "home", mlflow_port=port)
    *_, land, _, _ = commands
    _decide(settings)
    supervisor = Supervisor.of(settings)
    [mlflow] = [service for service in interface_services(settings) if service.name == "mlflow"]
    started = [(service, supervisor.start(service)) for service in (mlflow, follower_service())]
    try:
        with ThreadPoolExecutor(1) as beside:
            landing = beside.submit(_typed, settings, land)
            _train(settings)
        for service, process in started:
            supervisor.wait_until_ready(service, process)
        yield Home(settings, f"http://{mlflow.address}", landing.result())
    finally:
        supervisor.stop_all()
        for _, process in started:
            process.wait()


def _train(settings: Settings) -> None:
    """Of propensity one that fails, the champion, and one with nothing to be compared on; and two of clv."""
    few, many = propensity_frame(seed=1, households=40), propensity_frame(seed=2, households=150)
    earlier = many.assign(**{name: many[name] - pd.Timedelta(days=364) for name in ("contacted_at", "ended_at")})
    with threadpool_limits(1):
        for recipe, frame in (
            *((propensity.RECIPE, each) for each in (few, many, earlier)),
            *((clv.RECIPE, clv_frame(seed)) for seed in (2, 3)),
        ):
            data = TrainingSet(frame=frame, action_features={}, contracts=CONTRACTS)
            lifecycle.run(settings, recipe, data, datetime.now(UTC))
    Champions(Registry(settings)).promote("clv", "2")


def _decide(settings: Settings) -> None:
    """Log a decision beside whose champion a shadow scored."""
    candidate = Candidate("home_banner", "beef", "beef_home", "arbitration", logit=0.0, p=0.5, beside=0.25)
    slot = SlotRecord(slot=0, action="beef", treatment="beef_home", probability=1.0)
    record = DecisionRecord(
        decision_id="d1",
        request_id="r1",
        occurred_at=datetime.now(UTC),
        customer_id="c1",
        policy_hash="policy",
        model_set_id="set",
        candidates=(candidate,),
        placements=(PlacementRecord(id="home_banner", channel="web", pmf={}, order=(), slots=(slot,)),),
    )
    contract = load_contracts(settings.folder("contracts"))["decisions"]
    with closing(SqliteLog(settings.event_log)) as log:
        log.append_sync([envelope(contract, row, record.occurred_at) for row in rows(record)])


def _promote(page: Page, url: str, version: str) -> None:
    """Set the alias `champion` on a version as a person does."""
    page.goto(f"{url}/#/models/propensity/versions/{version}")
    page.locator('button[data-component-id*="modelversionviewaliaseditor"]').click(timeout=PATIENCE)
    dialog = page.get_by_role("dialog", name=f"Add/Edit alias for model version {version}")
    dialog.get_by_role("combobox").fill("champion")
    dialog.get_by_role("combobox").press("Enter")
    dialog.get_by_role("button", name="Save aliases").click()
    expect(dialog).to_have_count(0, timeout=PATIENCE)


def _expect_tag(page: Page, said: str) -> None:
    """Reload the page of a version until the follower has said so."""
    for _ in range(PATIENCE_S):
        page.reload()
        with suppress(AssertionError):
            return expect(page.get_by_text(said)).to_be_visible(timeout=2_000)
    raise AssertionError(page.inner_text("body"))


def test_every_version_is_listed_with_its_gate(home: Home, commands: list[str]) -> None:
    """Which one decides, which one waits, and which one failed."""
    said = home.type(commands[0])
    assert "│ champion │ passed │" in said
    assert "│ shadow │ undecided │" in said
    assert "│ failed │" in said


def test_what_failed_nobody_can_promote(home: Home) -> None:
    """The command says why, and the champion stays who it is."""
    registry = Registry(home.settings)
    with pytest.raises(RegistryError, match=r"propensity 1 did not pass its gate: .* it must be at most"):
        Champions(registry).promote("propensity", "1")
    assert registry.current("propensity").version == "2"


def test_two_versions_are_compared(page: Page, home: Home) -> None:
    """Ticked in the registered model's table: what differs is side by side."""
    page.goto(f"{home.url}/#/models/propensity")
    for version in ("1", "2"):
        page.get_by_role("row").filter(has_text=f"Version {version}").get_by_role("checkbox").check(timeout=PATIENCE)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Comparing 2 Versions").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("type_and_past_rate_auc_difference", exact=True).first).to_be_visible(timeout=PATIENCE)


def test_serving_follows_the_alias_that_is_set_in_mlflow(page: Page, home: Home) -> None:
    """The set has the version from the shadow in the champion's place, and the version's page says which set."""
    before = home.await_versions("2", shadow="3")
    _promote(page, home.url, "3")
    published = home.await_versions("3")
    assert published.id != before.id
    _expect_tag(page, f"published: model set {published.id}")


def test_a_promotion_and_a_rollback_by_command_are_followed(home: Home, commands: list[str]) -> None:
    """A rollback goes back to the version that was made champion in the UI."""
    _, promote, rollback, *_ = commands
    for typed, said, version in (
        (promote, "clv 1 is champion", "1"),
        (rollback, "clv 2 is champion again", "2"),
        (promote.replace("clv 1", "propensity 2"), "propensity 2 is champion", "2"),
        (rollback.replace("clv", "propensity"), "propensity 3 is champion again", "3"),
    ):
        assert said in home.type(typed)
        home.await_version(said.split()[0], version)


def test_what_the_shadow_says_is_seen_beside_the_champion(home: Home, commands: list[str]) -> None:
    """The record of a decision landed, and the page's query finds both."""
    assert "1 received, 1 landed, 0 rejected" in home.landing
    assert "│ set │ beef │ 1 │ 0.5 │ 0.25 │ 0.25 │" in home.type(commands[-2])


def test_what_nobody_judged_is_seen_and_does_not_serve(page: Page, home: Home, commands: list[str]) -> None:
    """A version from elsewhere is registered; neither the command nor the alias in the UI brings it into serving."""
    before = home.served()
    home.type(commands[-1])
    with pytest.raises(RegistryError, match="propensity 4 did not pass its gate: it was never judged"):
        Champions(Registry(home.settings)).promote("propensity", "4")
    _promote(page, home.url, "4")
    _expect_tag(page, "refused: its gate did not let it through: it was never judged")
    assert home.served() == before


def test_the_page_names_every_model_and_demand() -> None:
    """One that is added has a row there, or this fails."""
    lines = (CHECKOUT / "docs" / "ml-engineer.md").read_text().splitlines()
    rows_of = [line.split("|")[1] for line in lines if line.startswith("| `")]
    assert [name for name in (*MODELS, *DEMANDS) if not any(f"`{name}`" in row for row in rows_of)] == []
