"""A data engineer follows docs/data-engineer.md: the commands of the page, and the Dagster UI in a real browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from nextbest.adapters.landing import Door
from nextbest.adapters.supervisor import Supervisor, free_ports
from nextbest.commands.processes import interface_services
from nextbest.settings import Settings
from tests import guides

pytestmark = pytest.mark.integration

PATIENCE = 120_000
"""Milliseconds for a run of Dagster on a busy machine."""


@pytest.fixture(scope="module")
def commands() -> list[str]:
    return guides.commands("data-engineer.md")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Where `source ~/shop/env.sh` leads, for somebody who has no other home."""
    [port] = free_ports("127.0.0.1", 1)
    return Settings(home=tmp_path_factory.mktemp("engineer") / "shop", source="mappings", dagster_port=port)


def _type(shop: Settings, *lines: str, status: int = 0) -> str:
    return guides.typed(shop.home.parent, *lines, status=status)


@pytest.fixture(scope="module")
def landed(shop: Settings, commands: list[str]) -> Settings:
    """The project with what has landed, and then the contract that says what a price is."""
    start, land, tighten, _ = commands
    _type(shop, start, land, tighten)
    return shop


@pytest.fixture(scope="module")
def url(landed: Settings) -> Iterator[str]:
    """The address of the project's Dagster UI, which is ended afterwards."""
    supervisor, [ui, *_] = Supervisor.of(landed), interface_services(landed)
    process = supervisor.start(ui)
    try:
        supervisor.wait_until_ready(ui, process)
        yield landed.dagster_url
    finally:
        supervisor.stop_all()
        process.wait()


def _check(page: Page, url: str, name: str, verdict: str) -> None:
    """Execute the checks of the invoices, as a person does, and wait for what one of them says."""
    page.goto(f"{url}/assets/landing/invoices?view=checks&checkDetail={name}")
    page.get_by_role("button", name="Execute all").click()
    expect(page.get_by_text("In Progress").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("In Progress")).to_have_count(0, timeout=PATIENCE)
    expect(page.get_by_text(verdict, exact=True).first).to_be_visible(timeout=PATIENCE)


def test_a_failing_check_is_seen_and_its_rows_are_one_click_away(page: Page, url: str) -> None:
    """The check says rule and rows; its link leads to the rows with rule and value, another one to the Data Docs."""
    _check(page, url, "values", "Failed")
    expect(page.get_by_text("UnitPrice: minimum 0: 3 of 9486 rows").first).to_be_visible()
    rows, docs = (page.locator(f'a[href*="/quality/{pages}/"]').first for pages in ("failed_rows", "data_docs"))
    for link, shown in ((rows, "-11062.06"), (docs, "UnitPrice")):
        with page.context.expect_page() as opened:
            link.click(modifiers=["Control"])
        expect(opened.value.get_by_text(shown).first).to_be_visible(timeout=PATIENCE)
        opened.value.close()


def test_what_reads_the_rows_waits(landed: Settings) -> None:
    """The pipeline stops at the check, says so, and lands nothing of what is made of the rows."""
    said = _type(landed, "source ~/shop/env.sh", "nextbest pipeline", status=1)
    assert "landing/invoices: values  UnitPrice: minimum 0: 3 of 9486 rows" in said
    assert Door.of(landed).receipts("transactions") == []


def test_a_corrected_file_lets_the_pipeline_go_on(page: Page, url: str, landed: Settings, commands: list[str]) -> None:
    """The same command lands it in the place of the first; the check passes, and what waited is made."""
    _type(landed, "source ~/shop/env.sh", commands[-1])
    _check(page, url, "values", "Passed")
    page.goto(f'{url}/asset-groups~group:"landing"')
    page.get_by_role("button", name="Materialize all").click()
    expect(page.get_by_text("Materializing").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("Materializing")).to_have_count(0, timeout=PATIENCE)
    page.goto(f"{url}/assets/landing/transactions")
    expect(page.get_by_text(re.compile("8,?139")).first).to_be_visible(timeout=PATIENCE)
    [receipt] = Door.of(landed).receipts("transactions")
    assert receipt.landed > 8_000
    assert receipt.rejected == 0
