"""Decisions that were made: the record of one, with the policy and the models that it was made with.

Belongs here: finding the three in a home, whether its servers run or not; nothing is written. Does not belong here:
deciding again (`nextbest.replay`), or asking why not (`nextbest.why_not`).
"""

import asyncio
from typing import NamedTuple

from nextbest import records
from nextbest.adapters.bundles import BundleError
from nextbest.adapters.logs import open_log
from nextbest.adapters.onnx import Scorer
from nextbest.adapters.policy_archive import ArchiveError, load
from nextbest.adapters.policy_files import PolicyError, read_policy
from nextbest.erasure import is_erased
from nextbest.errors import NextbestError
from nextbest.log import decision_entries
from nextbest.policy import Policy
from nextbest.records import DecisionRecord
from nextbest.settings import Settings


class UnknownDecisionError(NextbestError):
    """A decision, or a part of what it was made with, that the home has not (any more)."""


class ErasedDecisionError(UnknownDecisionError):
    """A decision whose customer was erased."""


class Decision(NamedTuple):
    """A record, and what it was made with."""

    record: DecisionRecord
    policy: Policy
    models: Scorer | None


def find(settings: Settings, decision_id: str) -> Decision:
    """The decision of that id.

    Raises:
        UnknownDecisionError: it is not in the log, or its policy or model set is gone; the message says what to do.
        LogUnavailableError: the log cannot be read.

    """
    return made_with(settings, _record(settings, decision_id))


def made_with(settings: Settings, record: DecisionRecord) -> Decision:
    """The decision of `record`.

    Raises:
        ErasedDecisionError: what it was made from is gone with its customer.
        UnknownDecisionError: its policy or model set is gone; the message says what to do.

    """
    if is_erased(record):
        raise ErasedDecisionError(
            f"the customer of decision {record.decision_id} was erased, and with them what it was made from: the log "
            "has what it came to, and nobody can decide it again"
        )
    return Decision(record, _policy(settings, record.policy_hash), _models(settings, record.model_set_id))


def _record(settings: Settings, decision_id: str) -> DecisionRecord:
    path = settings.event_log
    if not path.is_file():
        raise UnknownDecisionError(
            f"there is no event log {path}: nothing was decided in this home yet (NEXTBEST_HOME says which one it is)"
        )
    log = open_log(settings)
    try:
        entries = asyncio.run(decision_entries(log, decision_id))
    finally:
        log.close()
    if not entries:
        raise UnknownDecisionError(
            f"no decision {decision_id} is in the log {path}: an answer with `logged: false` is kept nowhere; "
            "`decision_id` of any other answer is what to ask for"
        )
    return records.decode(entries[0].properties["record"])


def _policy(settings: Settings, name: str) -> Policy:
    """From the archive; a policy that decided before there was one may be that of the files still."""
    try:
        return load(settings.policies_archive, name)
    except ArchiveError as error:
        folder = settings.folder("policies")
        try:
            policy = read_policy(folder)
        except PolicyError:
            policy = None
        if policy is None or policy.hash != name:
            raise UnknownDecisionError(
                f"{error}; nor is it the policy in {folder}: bring back there the files of that day, from git say"
            ) from error
        return policy


def _models(settings: Settings, model_set_id: str | None) -> Scorer | None:
    if model_set_id is None:
        return None
    try:
        return Scorer.load(settings.bundles, model_set_id)
    except BundleError as error:
        raise UnknownDecisionError(
            f"{error}; bring its folder back to {settings.bundles} from a backup, or promote the same versions again "
            "with `nextbest models promote`: the same models are the same set"
        ) from error
