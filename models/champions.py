"""Who acts for each model, and who did before: by the verdict of a gate, a person's word, or going back.

Belongs here: who becomes champion or shadow, one process at a time, and the history that a rollback goes back by. Does
not belong here: the verdict itself (`models.gates`), or the store (`models.registry`).
"""

from collections.abc import Sequence

import msgspec

from models.candidate import Candidate, Registered
from models.descriptions import description, sha256
from models.gates import Check, GateResult, Verdict
from models.registry import Registry
from models.versions import (
    CHAMPION,
    GATE,
    GATE_CHECKS,
    GATE_DESCRIPTION,
    GATE_REASON,
    GATE_SHA256,
    HISTORY,
    MAY_SERVE,
    SHADOW,
    RegistryError,
    Version,
)

_KEPT = 20
_LOCK = "champions"
"""Of all processes, one changes who is champion: MLflow has no step that sets alias and history together."""


class Champions:
    """The champions and shadows of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def conclude(self, version: Version, candidate: Candidate, gate: GateResult, rival: str | None) -> Registered:
        """Write the verdict on the version; if it passed, it becomes champion, and what is undecided the shadow.

        So is one whose `rival`, the champion that it was compared with, is champion no more: somebody decided.
        `GATE_CHECKS` comes last: it is what `trained_on` looks for, so that a run killed before it trains again.
        """
        with self._registry.alone(_LOCK):
            champion = self._registry.champion_version(version.name)
            if champion is not None and champion.version != rival:
                gate = GateResult((*gate.checks, _overtaken(champion.version, rival)))
            return self._conclude(version, candidate, gate)

    def _conclude(self, version: Version, candidate: Candidate, gate: GateResult) -> Registered:
        self._registry.tag(version, GATE_SHA256, sha256(candidate.onnx))
        self._registry.tag(version, GATE_DESCRIPTION, sha256(description(candidate.model)))
        self._registry.tag(version, GATE_REASON, gate.reason)
        # With the verdict somebody may promote the version: all that serving asks for is there by then.
        self._registry.tag(version, GATE, gate.verdict)
        if gate.verdict == "passed":
            self._make_champion(version.name, version.version)
        elif gate.verdict == "undecided":
            self._registry.set_alias(version.name, SHADOW, version.version)
        self._registry.tag(version, GATE_CHECKS, msgspec.json.encode(gate).decode())
        return Registered(
            name=version.name,
            version=version.version,
            run_id=version.run_id,
            alias={"passed": CHAMPION, "undecided": SHADOW}.get(gate.verdict),
            metrics=candidate.metrics,
            gate=gate,
            skipped=False,
        )

    def reconsider(self, shadow: Version, check: Check, rival: str) -> None:
        """Have the version in the shadow become champion where it is not worse, and leave the shadow where it is.

        Where it is in the shadow no more, or `rival`, which it was compared with, champion no more, somebody decided.
        """
        verdict: Verdict = (
            "passed" if check.outcome == "met" else "failed" if check.outcome == "missed" else "undecided"
        )
        with self._registry.alone(_LOCK):
            aliases = self._registry.aliases(shadow.name)
            if (aliases.get(CHAMPION), aliases.get(SHADOW)) != (rival, shadow.version):
                return
            self._registry.tag(shadow, GATE_REASON, check.message)
            self._registry.tag(shadow, GATE, verdict)
            if verdict == "passed":
                self._make_champion(shadow.name, shadow.version)
            elif verdict == "failed":
                self._registry.remove_alias(shadow.name, SHADOW)

    def promote(self, name: str, number: str) -> None:
        """Make a version champion; its gate must not be against it.

        Raises:
            RegistryError: there is no such version, or its gate did not let it through.

        """
        with self._registry.alone(_LOCK):
            self._check_may_serve(name, number)
            self._make_champion(name, number)

    def rollback(self, name: str) -> str:
        """Make the champion of before champion again; returns its version. Once more, and the one before that is.

        Versions that were deleted are passed over; also the champion may be one.

        Raises:
            RegistryError: there is none that is known, or it may not serve any more.

        """
        with self._registry.alone(_LOCK):
            champion, former = self._registry.champion_version(name), self._history(name)
            last = champion.version if champion else former[-1] if former else None
            there = {version.version for version in self._registry.versions(name)}
            while former and (former[-1] == last or former[-1] not in there):
                former.pop()
            if not former:
                raise RegistryError(f"{name} had no champion before this one: `nextbest models promote {name} VERSION`")
            self._check_may_serve(name, former[-1])
            # Killed in between, the next rollback is this one; the other way round it would undo it.
            self._note(name, former)
            self._set_champion(name, former)
        return former[-1]

    def note(self, version: Version) -> None:
        """Have a rollback know of the champion, however it became that: in MLflow's UI nobody else would say so."""
        with self._registry.alone(_LOCK):
            current = self._registry.champion_version(version.name)
            if current is not None and current.version == version.version:
                self._note_last(version)

    def _note_last(self, champion: Version) -> None:
        former = self._history(champion.name)
        if former[-1:] != [champion.version]:
            self._note(champion.name, [*former, champion.version])

    def _check_may_serve(self, name: str, number: str) -> None:
        found = [version for version in self._registry.versions(name) if version.version == number]
        if not found:
            raise RegistryError(f"there is no version {number} of {name}: `nextbest models list` shows what there is")
        tags = found[0].tags
        if tags.get(GATE) not in MAY_SERVE:
            reason = tags.get(GATE_REASON, "it was never judged")
            raise RegistryError(f"{name} {number} did not pass its gate: {reason}")

    def _make_champion(self, name: str, number: str) -> None:
        if former := self._registry.champion_version(name):
            self._note_last(former)
        before = self._history(name)
        self._set_champion(name, before if before[-1:] == [number] else [*before, number])

    def _set_champion(self, name: str, champions: Sequence[str]) -> None:
        """Set the alias on the last of them; a shadow was compared with the champion of before, and ends with it."""
        self._registry.set_alias(name, CHAMPION, champions[-1])
        if SHADOW in self._registry.aliases(name):
            self._registry.remove_alias(name, SHADOW)
        self._note(name, champions)

    def _note(self, name: str, champions: Sequence[str]) -> None:
        self._registry.tag_model(name, HISTORY, " ".join(champions[-_KEPT:]))

    def _history(self, name: str) -> list[str]:
        return self._registry.model_tags(name).get(HISTORY, "").split()


def _overtaken(champion: str, rival: str | None) -> Check:
    compared = f"version {rival} was" if rival else "there was none"
    message = f"version {champion} became champion during the training, when {compared}: so it goes into the shadow"
    return Check("not_worse_than_champion", "same_champion", "undecided", message)
