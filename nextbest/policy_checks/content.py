"""What treatments and fallbacks show: texts that can be filled in, and a fallback for all that a placement shows.

Belongs here: templates, their variables, the keys of contents. Does not belong here: what Liquid may do
(`nextbest.templates`).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from nextbest.features import rule_values
from nextbest.findings import Level, Place, Problem
from nextbest.policy_checks.live import to_declare
from nextbest.policy_checks.subject import Subject, meant
from nextbest.policy_document import ActionDocument
from nextbest.records import Attribute
from nextbest.templates import TemplateError, compile_template, is_plain

OWN: Final = ("id", "name", "group", "objective")
"""What a text can name of its action beside the attributes."""


def texts(subject: Subject) -> Iterator[Problem]:
    """Every text of a treatment is Liquid, names what somebody supplies, and can be filled in with the defaults."""
    features = subject.features.values()
    common: dict[str, Mapping[str, Attribute]] = {
        origin: rule_values([each for each in features if each.origin == origin], {}, {})
        for origin in ("customer", "context")
    }
    for index, action in enumerate(subject.actions):
        values = {**common, "action": action_values(action)}
        for position, treatment in enumerate(action.treatments):
            for key, source in treatment.content.items():
                place = ("actions", "actions", index, "treatments", position, "content", key)
                yield from _text(subject, place, source, values)


def action_values(action: ActionDocument) -> dict[str, Attribute]:
    """What a text can name of its action."""
    return {**action.attributes, **{name: getattr(action, name) for name in OWN}}


def _text(
    subject: Subject, place: Place, source: str, values: Mapping[str, Mapping[str, Attribute]]
) -> Iterator[Problem]:
    try:
        template = compile_template(source)
        unknown = [name for name in sorted(template.variables) if not _is_supplied(name, values)]
        if not unknown:
            template.render(values)
    except TemplateError as error:
        yield Problem(place, str(error), "policy-template")
        return
    for name in unknown:
        if name.partition(".")[2] not in subject.lost:
            known = {f"{origin}.{each}" for origin, found in values.items() for each in found}
            instead = to_declare(subject, name.removeprefix("customer.")) or _meant(name, known)
            yield Problem(place, f"nobody supplies `{name}`{instead}", "policy-template")


def _is_supplied(name: str, values: Mapping[str, Collection[str]]) -> bool:
    origin, _, each = name.partition(".")
    return each in values.get(origin, ())


def _meant(name: str, known: Collection[str]) -> str:
    near = meant(name, known)
    return near if near.endswith("?") else ": write customer.FEATURE, context.FEATURE, action.name or action.ATTRIBUTE"


def fallbacks(subject: Subject) -> Iterator[Problem]:
    """A fallback is the same for everybody."""
    for index, placement in enumerate(subject.policy.placements.placements):
        for key, source in placement.fallback.content.items():
            if not is_plain(source):
                place = ("placements", "placements", index, "fallback", "content", key)
                message = (
                    "a fallback is for everybody, also when nothing is known: write it without {{ … }} and {% … %}"
                )
                yield Problem(place, message, "policy-fallback")


def fallback_keys(subject: Subject) -> Iterator[Problem]:
    """A fallback has whatever the treatments of its placement show."""
    for index, placement in enumerate(subject.policy.placements.placements):
        contents = [
            treatment.content.keys()
            for action in subject.actions
            for treatment in action.treatments
            if treatment.placement == placement.id
        ]
        for key in sorted(set[str]().union(*contents) - placement.fallback.content.keys()):
            is_everywhere = all(key in content for content in contents)
            level: Level = "error" if is_everywhere else "warning"
            which = "its treatments show" if is_everywhere else "some of its treatments show"
            message = f"the fallback of `{placement.id}` has no `{key}`, which {which}"
            yield Problem(("placements", "placements", index, "fallback", "content"), message, "policy-fallback", level)
