"""`nextbest policy try`: what the policy in `policies/` decides for a customer who is described on the command line.

Belongs here: describing a customer in words, and showing what comes of every action. The deciding is the engine's own,
with nothing behind it: no server, no model (each action has the propensity the policy gives it), nothing is kept.
"""

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import click
from rich.markup import escape
from rich.table import Table

from nextbest.adapters.policy_files import read_policy, vocabulary
from nextbest.advice import did_you_mean, listed
from nextbest.commands.processes import console
from nextbest.content import content_of
from nextbest.decision import decide, settle
from nextbest.messages import Profile, Request
from nextbest.policy import Policy
from nextbest.policy_checks.subject import Vocabulary
from nextbest.reasons import reason
from nextbest.records import Attribute, Candidate, Contact, DecisionRecord, Interaction, Signal, Snapshot
from nextbest.reservations import reserve
from nextbest.settings import Settings


@click.command("try")
@click.option("--placement", "placements", multiple=True, help="What to fill; every placement unless one is named.")
@click.option("--feature", "features", multiple=True, help="NAME=VALUE, what is known of the customer.")
@click.option("--context", "contexts", multiple=True, help="NAME=VALUE, what the channel sends along.")
@click.option("--withdrawn", multiple=True, help="A purpose the customer said no to; yes to all others.")
@click.option("--seen", multiple=True, help="ACTION[/CHANNEL][@HOURS]: what the customer saw so many hours ago (1).")
@click.option("--did", multiple=True, help="EVENT:ACTION[/CHANNEL][@HOURS]: a click, a dismissal, …, so long ago (1).")
@click.option("--signal", "signals", multiple=True, help="SIGNAL:KEY=VALUE, what is known of the world outside.")
@click.option("--customer", default="somebody", help="Who it is: experiments and reach follow from it.")
@click.option("--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="The moment, in UTC; now by default.")
def try_policy(
    *,
    placements: tuple[str, ...],
    features: tuple[str, ...],
    contexts: tuple[str, ...],
    withdrawn: tuple[str, ...],
    seen: tuple[str, ...],
    did: tuple[str, ...],
    signals: tuple[str, ...],
    customer: str,
    at: datetime | None,
) -> None:
    """Decide for a customer described here, and say of every action what became of it and why.

    \b
    Example: nextbest policy try --placement home_banner --feature baskets_28d=3
             nextbest policy try --signal stock:fluid_milk_products=0 --context store=367
             nextbest policy try --seen beef/email@5 --did dismissal:cheese@30 --at 2026-12-24T22:00
    """  # noqa: D301  click reads the control character
    folder = Settings.from_env().folder("policies")
    policy, words = read_policy(folder), vocabulary(folder)
    now = at.replace(tzinfo=UTC) if at else datetime.now(UTC)
    request = Request(
        decision_id=uuid.uuid4().hex,
        request_id="",
        customer_id=customer,
        placements=_known(placements, policy.placements, "--placement") or tuple(policy.placements),
        context=_values(policy, contexts, "context"),
        mode="dry_run",
    )
    snapshot = Snapshot(
        consents={
            purpose: "withdrawn" if purpose in _known(withdrawn, policy.regimes, "--withdrawn") else "granted"
            for purpose in policy.regimes
        },
        contacts=tuple(_contact(policy, each, now) for each in seen),
        interactions=tuple(_interaction(policy, words, each, now) for each in did),
        signals=tuple(_signal(policy, request.context, each, now) for each in signals),
    )
    profile = Profile(features=dict(_values(policy, features, "customer")))
    proposal = decide(request, profile, policy, None, snapshot, now, tier="reduced")
    record = settle(proposal, reserve(proposal, snapshot.contacts, now)[0])
    _show(record, policy)


def _show(record: DecisionRecord, policy: Policy) -> None:
    shown = console()
    for placement in record.placements:
        table = Table("action", "stage", "P", "value", "cost", "priority", "chance", "why not", box=None)
        candidates = [each for each in record.candidates if each.placement == placement.id]
        first = placement.order[: placement.ahead]
        ranks = {each.key: (each.key not in first, each.reason != "", -(each.priority or 0.0)) for each in candidates}
        for each in sorted(candidates, key=lambda each: ranks[each.key]):
            chance = "first" if each.key in first else _share(placement.pmf.get(each.key))
            table.add_row(each.action, each.stage, *_numbers(each), chance, escape(each.reason))
        shown.rule(placement.id)
        shown.print(table)
        for slot in placement.slots:
            content = ", ".join(f"{name}: {text}" for name, text in content_of(policy, record, placement, slot).items())
            said = f"drawn: {slot.action} ({reason(record, placement, slot).text}), which shows {content}"
            shown.print(said, style="bold", highlight=False, markup=False)
    if policy.arbitration.uses_uplift:
        shown.print("uplift is to count, and is known to models alone: here P counts as it is", highlight=False)
    arms = ", ".join(f"{arm.experiment}: {arm.arm}" for arm in record.arms)
    if arms:
        shown.print(f"experiments: {arms}", highlight=False)


def _numbers(candidate: Candidate) -> list[str]:
    numbers = (candidate.p, candidate.value, candidate.cost, candidate.priority)
    return ["" if number is None else f"{number:.4f}" for number in numbers]


def _share(chance: float | None) -> str:
    return "" if chance is None else f"{100.0 * chance:.2f} %"


def _known(names: tuple[str, ...], known: Iterable[str], option: str) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            message = f"there is no {name}: there is {listed(known)}{did_you_mean(name, known)}"
            raise click.BadParameter(message, param_hint=option)
    return names


def _values(policy: Policy, given: tuple[str, ...], origin: str) -> dict[str, Attribute]:
    """NAME=VALUE pairs as features of the catalogue, each in its kind."""
    declared = {name: feature for name, feature in policy.catalogue.items() if feature.origin == origin}
    option = "--feature" if origin == "customer" else "--context"
    values: dict[str, Attribute] = {}
    for pair in given:
        name, has_value, text = pair.partition("=")
        if not has_value:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint=option)
        _known((name,), declared, option)
        try:
            values[name] = _typed(text, declared[name].kind)
        except ValueError as error:
            raise click.BadParameter(f"{name} is a {declared[name].kind}, not {text!r}", param_hint=option) from error
    return values


def _typed(text: str, kind: str) -> Attribute:
    if kind == "text":
        return text
    if kind == "boolean":
        known: Mapping[str, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in known:
            raise ValueError(text)
        return known[text.lower()]
    return float(text)


def _when(policy: Policy, text: str, option: str, now: datetime) -> tuple[str, str, datetime]:
    """ACTION[/CHANNEL][@HOURS]; without a channel, the first by name of those the action has."""
    named, _, hours = text.partition("@")
    action, _, channel = named.partition("/")
    _known((action,), policy.actions, option)
    channels = {p.channel for p in policy.placements.values() for t in p.treatments if t.action.id == action}
    if channel:
        _known((channel,), sorted(channels), option)
    try:
        return action, channel or min(channels), now - timedelta(hours=float(hours or 1))
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{hours!r} is no number of hours", param_hint=option) from error


def _contact(policy: Policy, text: str, now: datetime) -> Contact:
    action, channel, at = _when(policy, text, "--seen", now)
    return Contact(
        decision_id=f"earlier {text}",
        slot=0,
        action=action,
        group=policy.actions[action].group,
        channel=channel,
        decided_at=at,
        expires_at=at,
        impressed_at=at,
    )


def _interaction(policy: Policy, words: Vocabulary, text: str, now: datetime) -> Interaction:
    kind, has_action, rest = text.partition(":")
    if not has_action:
        raise click.BadParameter(f"{text!r} is not EVENT:ACTION", param_hint="--did")
    if kind in {"decision", "impression"}:
        raise click.BadParameter("what was decided and seen is said by --seen", param_hint="--did")
    if words.events is not None and words.outcomes is not None:
        _known((kind,), sorted((words.events | words.outcomes) - {"impression"}), "--did")
    action, channel, at = _when(policy, rest, "--did", now)
    return Interaction(kind=kind, action=action, channel=channel, at=at)


def _signal(policy: Policy, context: Mapping[str, Attribute], text: str, now: datetime) -> Signal:
    """A number where it is one, else a text; of what the policy asks for with this context."""
    named, has_value, value = text.rpartition("=")
    name, has_key, key = named.partition(":")
    if not (has_value and has_key):
        raise click.BadParameter(f"{text!r} is not SIGNAL:KEY=VALUE", param_hint="--signal")
    _known((named,), sorted(map(":".join, policy.scope(now, context).signals)), "--signal")
    try:
        return Signal(signal=name, key=key, value=float(value), at=now)
    except ValueError:
        return Signal(signal=name, key=key, text=value, at=now)
