"""What must hold between the parts of a policy: every mistake found at once, each with its place.

Belongs here: which checks there are, and which files each needs. Does not belong here: the checks themselves
(`nextbest.policy_checks`), types and bounds of a field (`nextbest.policy_document`), or turning a place into file and
line (`nextbest.adapters.policy_files`).
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterable
from typing import Final

from nextbest.findings import Problem
from nextbest.policy_checks import contacts, content, expressions, live, names, reach, signals, trials
from nextbest.policy_checks.subject import Subject, Vocabulary
from nextbest.policy_document import PolicyDocument

Check = Callable[[Subject], Iterable[Problem]]

CHECKS: Final[tuple[tuple[Check, frozenset[str]], ...]] = tuple(
    (check, frozenset(files.split()))
    for check, files in (
        (names.action_ids, "actions"),
        (names.placement_ids, "placements"),
        (names.contact_ids, "contact_policy"),
        (names.feature_names, "features"),
        (live.live_features, "features"),
        (names.experiment_ids, "experiments"),
        (names.purposes, "actions placements contact_policy"),
        (names.treatments, "actions placements"),
        (names.members, "actions placements contact_policy"),
        (names.sequences, "actions"),
        (names.experiment_members, "actions experiments"),
        (expressions.defaults, "features"),
        (expressions.rules, "actions features"),
        (expressions.amounts, "actions features"),
        (expressions.formulas, "actions arbitration experiments features"),
        (signals.features, "features"),
        (reach.dates, "actions"),
        (reach.contradictions, "actions"),
        (reach.sequences, "actions"),
        (reach.worth, "actions placements arbitration experiments"),
        (contacts.counted, "contact_policy"),
        (contacts.bound, "actions placements contact_policy"),
        (contacts.caps, "actions contact_policy"),
        (contacts.quiet_hours, "placements"),
        (contacts.time_zone, "contact_policy"),
        (contacts.time_zone_feature, "contact_policy features"),
        (content.texts, "actions features"),
        (content.fallbacks, "placements"),
        (content.fallback_keys, "actions placements"),
        (trials.exploration, "arbitration"),
        (trials.changes, "experiments"),
        (trials.thompson, "arbitration experiments"),
        (trials.uplift, "arbitration experiments"),
        (trials.learning, "actions arbitration features"),
        (trials.shares, "experiments"),
    )
)
"""Every check, with the files it says nothing without."""


def check(
    policy: PolicyDocument,
    vocabulary: Vocabulary | None = None,
    *,
    today: dt.date | None = None,
    lost: frozenset[str] = frozenset(),
    unread: Collection[str] = (),
) -> list[Problem]:
    """Every problem of `policy`, in no particular order; no error among them means that it compiles.

    Args:
        policy: The policy, or what of it could be read.
        vocabulary: What the contracts say can happen; without it names of events and outcomes are not checked.
        today: What has ended by then is told.
        lost: The names in parts that had to be left out: nobody is told that they are unknown.
        unread: The files of which nothing could be read: what needs them is not checked.

    """
    subject = Subject(policy=policy, vocabulary=vocabulary or Vocabulary(), today=today, lost=lost)
    return [problem for run, files in CHECKS if not files & set(unread) for problem in run(subject)]
