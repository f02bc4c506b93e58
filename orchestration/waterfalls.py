"""Waterfalls: why two customers are taken for one person, column by column, as a page.

Belongs here: drawing. Each chart is SVG within the page, since a page loads and runs nothing (`orchestration.pages`);
it shows ids, how a column agrees and what that weighs, and no value of anybody. Does not belong here: the weights.
"""

from collections.abc import Sequence
from html import escape
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from nextbest.links import Proposal
from orchestration.pages import POLICY, STYLE

SHOWN: Final = 200
_LEGEND: Final = (
    "A bar is what one column adds to the evidence, in bits: +1 makes it twice as likely that the two are one person, "
    "-1 half. The last bar is the sum, of which the probability follows."
)
_LABELS, _BARS, _ROW = 280, 420, 22
_MARGIN: Final = 30
_FOR, _AGAINST, _SUM = "#2a7f4f", "#b5443a", "#667"


def waterfalls_page(title: str, sections: Sequence[tuple[str, Sequence[Proposal]]]) -> str:
    """A page with a chart per proposal, the first ones of each section."""
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_LEGEND}</p>",
    ]
    for name, proposals in sections:
        more = f" The first {SHOWN} are shown." if len(proposals) > SHOWN else ""
        parts.append(f"<h2>{escape(name)}: {len(proposals):,}</h2><p>{more}</p>")
        parts.extend(map(_figure, proposals[:SHOWN]))
    head = f'<head><meta charset="utf-8">{POLICY}<title>{escape(title)}</title>{STYLE}</head>'
    return f'<!DOCTYPE html>\n<html lang="en">{head}<body>{"".join(parts)}</body></html>\n'


def _figure(proposal: Proposal) -> str:
    said = f"{proposal.customer_id} and {proposal.other_id}: {proposal.probability:.1%}"
    return f"<h3>{escape(said)}</h3>{waterfall(proposal)}"


def waterfall(proposal: Proposal) -> str:
    """The chart of one proposal, as SVG."""
    sums = list(accumulate((each.weight for each in proposal.contributions), initial=0.0))
    bars = [
        _Bar(f"{each.column.replace('_', ' ')}: {each.level}", *span, _FOR if each.weight >= 0 else _AGAINST)
        for each, span in zip(proposal.contributions, pairwise(sums), strict=True)
    ]
    bars.append(_Bar("together", 0.0, sums[-1], _SUM))
    low, high = min(sums), max(sums)
    bit = (_BARS - 2 * _MARGIN) / ((high - low) or 1.0)
    zero, height = _LABELS + _MARGIN - low * bit, _ROW * len(bars)
    rows = "".join(bar.drawn(number * _ROW, zero, bit) for number, bar in enumerate(bars))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABELS + _BARS}" height="{height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">'
        f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{height}" stroke="#bbb"/>{rows}</svg>'
    )


class _Bar(NamedTuple):
    label: str
    start: float
    end: float
    colour: str

    def drawn(self, top: int, zero: float, bit: float) -> str:
        """The bar with its label on the left and what it weighs at its end; `bit` is the width of one."""
        left, width = zero + min(self.start, self.end) * bit, abs(self.end - self.start) * bit
        middle = top + _ROW * 0.7
        return (
            f'<text x="{_LABELS - 8}" y="{middle:.1f}" text-anchor="end">{escape(self.label)}</text>'
            f'<rect x="{left:.1f}" y="{top + 4}" width="{width:.1f}" height="{_ROW - 8}" fill="{self.colour}"/>'
            f'<text x="{left + width + 4:.1f}" y="{middle:.1f}">{self.end - self.start:+.1f}</text>'
        )
