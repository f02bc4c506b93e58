"""A model version as the registry knows it, and the names under which the registry holds what is known of it.

Belongs here: aliases, tags, verdicts that may serve, and what is wrong with a version. Does not belong here: reading or
writing any of it (`models.registry`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from models.gates import Verdict
from nextbest.errors import NextbestError

CHAMPION, SHADOW = "champion", "shadow"
GATE, GATE_SHA256, GATE_REASON, GATE_CHECKS = "gate", "gate_sha256", "gate_reason", "gate_checks"
GATE_DESCRIPTION = "gate_description_sha256"
"""The tag with the hash of the `model.json` that was judged: another order of features is another model."""
FINGERPRINT = "training_fingerprint"
LABELS_UNTIL = "labels_until"
"""The tag of a version that has the time of the newest label there was when it was trained."""
HISTORY = "champions"
"""The tag of a registered model that names its champions so far, the newest last: what a rollback goes back by."""
MAY_SERVE: tuple[Verdict, ...] = ("passed", "undecided")
"""Verdicts with which a version may act: of what is undecided somebody may decide."""


class RegistryError(NextbestError):
    """The registry does not hold what was asked for, or does not allow it."""


class UnservableError(NextbestError):
    """A version that was not registered as serving takes models: it says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A model version as the registry knows it."""

    name: str
    version: str
    run_id: str
    aliases: frozenset[str]
    created_at: datetime
    tags: Mapping[str, str]

    @property
    def is_champion(self) -> bool:
        return CHAMPION in self.aliases

    @property
    def alias(self) -> str:
        """What it is in words: champion, shadow, or nothing."""
        return next((alias for alias in (CHAMPION, SHADOW) if alias in self.aliases), "")

    @property
    def labels_until(self) -> datetime | None:
        """The time of the newest label that it was trained or measured on, where that is known."""
        said = self.tags.get(LABELS_UNTIL)
        return datetime.fromisoformat(said) if said else None
