"""Tests of `orchestration.waterfalls`: a chart per proposal, in a page that loads nothing."""

from xml.etree import ElementTree as ET

from nextbest.links import Contribution, Proposal
from orchestration.waterfalls import SHOWN, waterfall, waterfalls_page

PROPOSAL = Proposal(
    "439",
    "<web>",
    0.9,
    3.2,
    (Contribution("prior", "any two records", -9.0), Contribution("birth_date", "1 character off", 12.2)),
)


def test_a_bar_begins_where_the_one_before_ends() -> None:
    """Weights are drawn to scale, one after the other, and the last bar is their sum."""
    chart = ET.fromstring(waterfall(PROPOSAL))  # noqa: S314  our own
    bars = [(float(b.attrib["x"]), float(b.attrib["width"])) for b in chart.iter("{http://www.w3.org/2000/svg}rect")]
    (prior, rare), (agrees, much), (together, left) = bars
    assert prior == agrees
    assert abs(much / rare - 12.2 / 9.0) < 0.01
    assert abs(together - (prior + rare)) < 0.2
    assert abs(left - (much - rare)) < 0.2
    texts = [text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["prior: any two records", "-9.0", "birth date: 1 character off", "+12.2", "together", "+3.2"]


def test_the_page_loads_nothing_and_escapes_ids() -> None:
    """Ids come from outside; of many proposals the first are drawn."""
    page = waterfalls_page("Customers", [("For review", [PROPOSAL] * (SHOWN + 5)), ("Linked", [])])
    assert "<script" not in page
    assert "<web>" not in page
    assert page.count("<svg") == SHOWN
    assert f"For review: {SHOWN + 5}" in page
