"""Why not: the smallest change that makes an action win a decision that was made without it.

Belongs here: the search, and its answer in words. First everything that stops the action is lifted, one stop after the
other; then, of what its priority is made of, the one is named that has to change least. Every step is decided again.
Does not belong here: the stops (`nextbest.stops`), the numbers of arbitration (`nextbest.levels`), or finding the
record (adapters).

To win is to be the first choice by priority. What the draw then makes of it is chance, and said beside.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from nextbest.advice import did_you_mean
from nextbest.counterfactual import Change, decide_in, situation_of, with_action
from nextbest.errors import NextbestError
from nextbest.experiments import CHALLENGERS, CHAMPION, side_of
from nextbest.levels import levels
from nextbest.policy import Placement, Policy
from nextbest.records import DO_NOTHING, Candidate, DecisionRecord, PlacementRecord
from nextbest.replay import refuse_others
from nextbest.reservations import reserve
from nextbest.situation import Models, Situation
from nextbest.standing import Standing, standing
from nextbest.stops import lifted

Verdict = Literal["won", "would_win", "cannot"]
_RANK: dict[Verdict, int] = {"won": 0, "would_win": 1, "cannot": 2}
_STEPS = 64
"""More things than this stop no action."""


class WhyNotError(NextbestError):
    """A question that a decision has no answer to."""


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """Why an action does not fill a placement, and what would have to change.

    Attributes:
        decision_id: The decision.
        action: Asked about.
        placement: The one of the decision in which least has to change.
        verdict: `won`: it is the first choice by priority, or fills a slot; `would_win`: with all of `steps` it is the
            first choice; `cannot`: no change of one thing after them makes it so.
        steps: What has to change, all of it, in the order of the engine's stages.
        alternatives: Each would do in place of the last of the steps, and changes more.
        fills: Whether this very draw, with the steps, gives it a slot.
        text: All of it in plain words.

    """

    decision_id: str
    action: str
    placement: str
    verdict: Verdict
    steps: tuple[Change, ...] = ()
    alternatives: tuple[Change, ...] = ()
    fills: bool = False
    text: str


def why_not(
    record: DecisionRecord, policy: Policy, models: Models | None, action: str, placement: str | None = None
) -> WhyNot:
    """Name the smallest change that makes `action` win the decision.

    Args:
        record: Of the decision.
        policy: That it was made with.
        models: The model set that it was made with; none where it was made without.
        action: Of the policy, or `do_nothing`.
        placement: Of the decision; without it, the placement in which least has to change.

    Raises:
        ReplayError: policy or models are not those the record names.
        WhyNotError: the decision is a fallback, or never had to do with the action.

    """
    refuse_others(record, policy, models)
    if record.tier == "fallback":
        raise WhyNotError(
            f"decision {record.decision_id} is a fallback ({', '.join(record.degraded)}): no action was considered"
        )
    situation = situation_of(record, policy, models)
    places = _places(record, situation.policy, action, placement)
    answers = [_answer(record, situation, place, key) for place, key in places]
    return min(answers, key=lambda answer: (_RANK[answer.verdict], len(answer.steps)))


def _places(
    record: DecisionRecord, policy: Policy, action: str, placement: str | None
) -> list[tuple[PlacementRecord, str]]:
    """The placements asked about that the action can fill, each with the key of its candidate there."""
    if action not in policy.actions and action != DO_NOTHING:
        meant = did_you_mean(action, policy.actions)
        raise WhyNotError(f"policy {record.policy_hash} has no action {action}{meant}")
    asked = {place.id: place for place in record.placements if placement in {None, place.id}}
    if not asked:
        there = ", ".join(place.id for place in record.placements)
        raise WhyNotError(f"decision {record.decision_id} is not about placement {placement}: it is about {there}")
    keys = {name: _key(policy.placements[name], action) for name in asked}
    found = [(asked[name], key) for name, key in keys.items() if key]
    if not found:
        where = [place.id for place in policy.placements.values() if _key(place, action)]
        raise WhyNotError(
            f"{action} has no treatment in {', '.join(asked)}, only in {', '.join(where)}: it cannot be shown there"
        )
    return found


def _key(placement: Placement, action: str) -> str | None:
    """The candidate of an action in a placement; of several treatments, which share their fate, the first."""
    if action == DO_NOTHING:
        return DO_NOTHING
    return next((each.key for each in placement.treatments if each.action.id == action), None)


def _answer(record: DecisionRecord, situation: Situation, place: PlacementRecord, key: str) -> WhyNot:
    """The answer for one placement."""
    action = key.partition("/")[0]
    answer = WhyNot(decision_id=record.decision_id, action=action, placement=place.id, verdict="cannot", text="")
    for slot in place.slots:
        if slot.action == action:
            text = (
                f"{action} fills slot {slot.slot} of {place.id}: it was drawn with probability {slot.probability:.3g}"
            )
            return msgspec.structs.replace(answer, verdict="won", fills=True, text=text)
    found = _Search(situation, place.id, key)
    if not found.steps and found.is_first:
        return msgspec.structs.replace(answer, verdict="won", text=_first(place, key))
    fills = found.is_first and _fills(found.situation, place.id, action)
    return msgspec.structs.replace(
        answer,
        verdict="would_win" if found.is_first else "cannot",
        steps=found.steps,
        alternatives=tuple(found.alternatives),
        fills=fills,
        text="\n".join(_words(found, place, action, fills=fills, variant=_variant(record))),
    )


class _Search:
    """Changing one thing after the other until the candidate is the first choice, or nothing more can be done."""

    def __init__(self, situation: Situation, placement: str, key: str) -> None:
        self._origin = situation
        self._place, self._key = placement, key
        self.situation = situation
        self._steps: dict[tuple[str, str], Change] = {}
        self.alternatives: list[Change] = []
        self.hindrance = ""
        """Why nothing more can be done."""
        if self._takes_part():
            self._raise()
        self.is_first = not self.hindrance and self._standing().is_first

    @property
    def steps(self) -> tuple[Change, ...]:
        return tuple(self._steps.values())

    def _standing(self) -> Standing:
        return standing(decide_in(self.situation).record, self.situation.policy, self._place, self._key)

    def _candidate(self) -> Candidate | None:
        return self._standing().candidate

    def _takes_part(self) -> bool:
        """Lift what stops the candidate, until nothing does."""
        seen = set()
        for _ in range(_STEPS):
            candidate = self._candidate()
            if candidate is None:
                self.hindrance = "with these changes the decision is a fallback: the models cannot score"
                return False
            if candidate.stage == "arbitration":
                return True
            self.hindrance = f"stopped at {candidate.stage}: {candidate.reason}"
            lift = lifted(self.situation, self._origin, self._place, self._key)
            if lift is None or lift[0] in seen:
                return False
            seen.add(lift[0])
            self.hindrance = ""
            self._take(*lift)
        return False

    def _take(self, change: Change, situation: Situation) -> None:
        """One more step; a feature that changes again changes once."""
        self._steps[change.kind, change.subject] = change
        self.situation = situation

    def _raise(self) -> None:
        """Change what priority is made of, until the candidate is the first choice."""
        now = self._standing()
        if now.is_first:
            return
        if now.is_behind_mandatory:
            action = self._key.partition("/")[0]
            if action == DO_NOTHING:
                self.hindrance = f"{now.rival} is mandatory: it comes before doing nothing"
                return
            text = f"{action} is mandatory too: {now.rival} is, and comes before whatever is not"
            was = self.situation.policy.actions[action].action_class
            change = Change("class", action, was, "mandatory", text)
            self._take(change, with_action(self.situation, action, action_class="mandatory"))
            now = self._standing()
            if now.is_first:
                return
        found = levels(self.situation, self._place, self._key)
        if not found:
            self.hindrance = (
                f"its priority of {now.priority:.6g} is below the {now.best:.6g} of {now.rival}, and no change of one "
                "number alone makes it first"
            )
            return
        smallest, *others = found
        self._take(*smallest)
        self.alternatives = [change for change, _ in others]


def _fills(situation: Situation, placement: str, action: str) -> bool:
    """Whether the draw of the decision gives the action a slot in a situation."""
    snapshot = situation.snapshot
    grant, _ = reserve(decide_in(situation), snapshot.contacts, situation.now, snapshot.usage)
    return any(slot.key.partition("/")[0] == action for slot in grant.placements[placement])


def _variant(record: DecisionRecord) -> str:
    """Which policy the changes are about, where it is not the policy itself."""
    if record.shadow:
        return f" under the shadow policy {record.shadow}"
    arm = side_of(record.arms, CHALLENGERS)
    return f" under the challenger {arm}" if arm not in {None, CHAMPION} else ""


def _first(place: PlacementRecord, key: str) -> str:
    """What happened to the first choice that fills no slot."""
    action = key.partition("/")[0]
    said = f"{action} was the first choice of {place.id} by priority"
    if not place.slots:
        return f"{said}; no slot was filled"
    slot = place.slots[0]
    if not place.available[0][place.order.index(key)]:
        return (
            f"{said}, but could not be had any more when the slot was filled (a cap or limit was full by then, or it "
            f"fills another slot of the decision): {slot.action} took it"
        )
    drawn = f"; the draw gave {slot.action}, with probability {slot.probability:.3g} against its {place.pmf[key]:.3g}"
    return f"{said}{drawn}" if key in place.pmf else f"{said}; {slot.action} took the slot"


def _words(found: _Search, place: PlacementRecord, action: str, *, fills: bool, variant: str) -> Iterator[str]:
    """The answer of a search, a line for each thing to say."""
    if found.is_first:
        yield f"{action} would be the first choice of {place.id}{variant} if:"
    else:
        yield f"{action} cannot become the first choice of {place.id}{variant}: {found.hindrance}"
        if found.steps:
            yield "What would have to change before that:"
    yield from _numbered(found.steps)
    if found.alternatives:
        yield "Instead of the last:"
        yield from (f"  or {change.text}" for change in found.alternatives)
    if found.is_first:
        yield f"This very draw would then {'have given it a slot' if fills else 'still have given others the slots'}."


def _numbered(steps: Sequence[Change]) -> Iterator[str]:
    yield from (f"  {number}. {change.text}" for number, change in enumerate(steps, start=1))
