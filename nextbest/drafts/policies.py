"""The draft of a policy: an offer per best-selling category, and what warehouse and rules have to call by its name.

Belongs here: the text of `policies/*.yaml` of a new project, and the names in `dbt_project/` that follow from it. Does
not belong here: what sells best (`nextbest.adapters.projects` asks the data), or what a policy may say
(`nextbest.policy_document`).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from nextbest.drafts.contracts import quoted
from nextbest.errors import NextbestError
from nextbest.policy_schema import modeline
from nextbest.records import DO_NOTHING
from nextbest.source import slug
from nextbest.templates import is_plain

MOST_ACTIONS: Final = 10
MOST_DEPARTMENTS: Final = 10
PLACEHOLDER: Final = "first_offer"
"""The action of a project whose sales are not known: a policy has at least one."""

_IDENTITY: Final = re.compile(r"[a-z][a-z0-9_]{0,79}")


class DraftError(NextbestError):
    """A file of the demo is not as it was when drafts of it were written."""


class Seller(msgspec.Struct, frozen=True):
    """A category with its department, as the data spells them, and what a basket spends on it where it is bought."""

    category: str
    department: str
    spend: float

    @property
    def action(self) -> str:
        return slug(self.category)


def best(sellers: Iterable[Seller]) -> list[Seller]:
    """The first that can be actions, each slug once, at most `MOST_ACTIONS`."""
    found: dict[str, Seller] = {}
    for seller in filter(_can_be_action, sellers):
        found.setdefault(seller.action, seller)
    return list(found.values())[:MOST_ACTIONS]


def _can_be_action(seller: Seller) -> bool:
    """Whether its slug is an id, its name a text without anything to fill in, and its offer worth something."""
    is_id = _IDENTITY.fullmatch(seller.action) and seller.action != DO_NOTHING
    return bool(is_id) and is_plain(seller.category) and round(seller.spend, 2) > 0.0


def department_ids(departments: Iterable[str]) -> list[str]:
    """The slugs of the first departments that have one, at most `MOST_DEPARTMENTS`."""
    slugs = dict.fromkeys(each for department in departments if (each := slug(department)))
    return list(slugs)[:MOST_DEPARTMENTS]


_ACTIONS: Final = """\
# What can be proposed. Doing nothing is always an action too, and is not listed.
# Written by `nextbest init`: {why}
# review: everything. Value is what a basket with the category spends on it, as if every sale were the offer's doing;
# cost is what proposing it costs (a discount, times how often it is used). An id is the slug of its category, and the
# same ids are in `vars.actions` and `models/marts/category_affinity.yml` of dbt_project/.
currency: {currency}
actions:
"""
_ACTION: Final = """
- id: {id}
  name: {name}
  group: {group}
  objective: purchase
  class: standard
  purpose: marketing
  value: {value}
  cost: 0.0
  lever: 100
  eligibility: []
  applicability: []
  suitability: []
  treatments:
  - id: {id}_home
    placement: home_banner
    channel: web
    content: {{headline: {headline}}}
  - id: {id}_email
    placement: email_hero
    channel: email
    content: {{subject: {subject}, headline: {headline}}}
  attributes: {{category: {category}, department: {department}}}
"""


def actions_yaml(sellers: Sequence[Seller], currency: str) -> str:
    """`actions.yaml`: an action per category; a placeholder where none is known."""
    why = f"the {len(sellers)} categories that sold most." if sellers else "a placeholder, for want of sales."
    sellers = sellers or [Seller(PLACEHOLDER, "all", 1.0)]
    return modeline("actions") + _ACTIONS.format(why=why, currency=currency) + "".join(map(_action, sellers))


def _action(seller: Seller) -> str:
    name = " ".join(seller.category.split()).capitalize()
    return _ACTION.format(
        id=seller.action,
        name=quoted(name),
        group=f"department_{slug(seller.department) or 'all'}"[:80],
        value=round(seller.spend, 2),
        headline=quoted(f"{name}: for you"),
        subject=quoted(f"For you: {name}"),
        category=quoted(seller.category),
        department=quoted(seller.department),
    )


def placements_yaml(currency: str) -> str:
    """`placements.yaml`: a banner and an e-mail, with a fallback that is safe for everybody."""
    return (
        modeline("placements")
        + f"""\
# Where actions can appear, and what is shown when none does. review: places, costs and words.
# A fallback is for everybody, also for who has not consented: it asks for nothing, names nobody and makes no offer.
channels:
  - id: web
    cost: 0.0
  - id: email
    cost: 0.002        # {currency} per e-mail
    purpose: marketing # an e-mail to a customer needs the consent whatever it proposes

placements:
  - id: home_banner
    channel: web
    slots: 1
    fallback:
      treatment: brand_banner
      content: {{headline: Welcome}}

  - id: email_hero
    channel: email
    slots: 1
    fallback:
      treatment: brand_hero
      content: {{subject: News from us, headline: Welcome}}
"""
    )


def experiments_yaml() -> str:
    """`experiments.yaml`: a control, without which nobody would know what choosing is worth."""
    return (
        modeline("experiments")
        + """\
# Who is treated how, so that we know what our choosing is worth. A customer stays on the side they were first put on.

# Three in a hundred customers get nothing that was chosen for them. review: how many you can do without.
control:
  percent: 3

# The name of the draws. With another salt customers are put on sides anew.
salt: first_policy
"""
    )


def arbitration_yaml(demo: str, currency: str) -> str:
    """`arbitration.yaml` of the demo, in another currency and with a draw of its own."""
    return demo.replace("USD", currency).replace("salt: coupons", "salt: first_policy")


def features_yaml(demo: str, departments: Sequence[str], currency: str) -> str:
    """`features.yaml` of the demo, with the shop's departments and currency."""
    line = '  - {{name: department_share_91d__{member}, description: "share of sales, 0 to 1"}}\n'
    family = r"(  - \{name: department_share_91d__\w+,.*\n)+"
    return _replaced(demo, family, "".join(line.format(member=each) for each in departments)).replace("USD", currency)


def project_variables(demo: str, actions: Sequence[str], departments: Sequence[str]) -> str:
    """`dbt_project.yml` of the demo, with the shop's actions and departments."""
    for variable, members in (("departments", departments), ("actions", actions)):
        listed = "".join(f"    - {member}\n" for member in members)
        demo = _replaced(demo, rf"(?<=\n  {variable}:\n)(    - \w+\n?)+", listed)
    return demo


def mart_columns(demo: str, prefix: str, members: Sequence[str], meaning: str) -> str:
    """A mart's YAML with a column `<prefix><member>` per member in the place of the demo's."""
    column = "      - name: {prefix}{member}\n        data_type: double\n        description: {meaning}\n"
    listed = "".join(column.format(prefix=prefix, member=m, meaning=meaning.format(member=m)) for m in members)
    return _replaced(demo, rf"(      - name: {prefix}\w+\n(        .*\n?)+)+", listed)


def _replaced(text: str, pattern: str, replacement: str) -> str:
    """The text with its one place that has the pattern written anew."""
    changed, count = re.subn(pattern, lambda _: replacement, text)
    if count != 1:
        raise DraftError(f"{count} places match {pattern!r}, not one: the file was changed; write it by hand")
    return changed
