"""What a customer may see and change: consents, everything that is kept, and that nothing is kept any more.

Belongs here: the way of each through log, State and feature store. Does not belong here: HTTP (`serving.routes`), or
what is left of an entry after an erasure (`nextbest.erasure`).
"""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nextbest.adapters.state_effects import well_formed
from nextbest.erasure import ERASURE, erasure, without
from nextbest.identity import identifier_of, names_in
from nextbest.log import EventLog
from nextbest.names import CustomerNames
from nextbest.policy import Policy
from nextbest.records import Snapshot
from nextbest.state import ConsentChanged, SnapshotScope, State
from nextbest.wire import Consent, Consents, CustomerExport, Erasure, EventRow, Status
from serving.basis import Basis
from serving.intake import Intake
from serving.known_as import all_names, names_around
from serving.profiles import FeatureReader

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """The customers of one home."""

    basis: Basis
    features: FeatureReader
    intake: Intake
    names: CustomerNames
    clock: Callable[[], datetime]

    @property
    def state(self) -> State:
        return self.basis.state

    @property
    def log(self) -> EventLog:
        return self.basis.log

    async def resolve(self, name: str) -> str:
        """The customer that goes by `name`; a new one where nobody does.

        Raises:
            msgspec.ValidationError: it is no name of a customer.
            StateBehindError: it stands alone in a State that has yet to catch up.

        """
        self.names.meant_by(name)  # raises where it is none
        (names,) = (await self.state.members([name])).values()
        if len(names) == 1:
            await self.basis.check()
        return names[0]

    async def consents(self, customer_id: str, policy: Policy) -> Consents:
        """What the customer has said, by every purpose of the policy."""
        said = (await self.basis.snapshot(customer_id, SnapshotScope(_EVER, _EVER))).snapshot.consents
        return Consents(
            customer_id=customer_id,
            consents=tuple(
                Consent(
                    purpose=purpose,
                    regime=regime,
                    status=said.get(purpose),
                    is_allowed=policy.allows(purpose, said.get(purpose)),
                )
                for purpose, regime in policy.regimes.items()
            ),
        )

    async def say(self, name: str, customer_id: str, said: Mapping[str, Status], policy: Policy) -> Consents:
        """Log what is said under a name of the customer and bring it into State: it binds the next decision.

        It is that name's word, of an identifier the customer's, whoever is one with them now. A yes takes back every no
        that was said under another of the customer's names, too: of these the stricter holds.

        Raises:
            LogUnavailableError: nothing was said.
            StateUnavailableError: it is logged, and binds once State has it.

        """
        now = self.clock()
        known = (await self.basis.snapshot(customer_id, SnapshotScope(_EVER, _EVER))).snapshot
        speaker = customer_id if identifier_of(name) else name
        refused = await self._refused(known.members) if _takes_back(known, said) else set()
        rows = [
            EventRow(
                "consents",
                {
                    "consent_id": uuid.uuid4().hex,
                    "customer_id": each,
                    "purpose": purpose,
                    "status": status,
                    "regime": policy.regimes[purpose],
                    "occurred_at": now.isoformat(),
                },
            )
            for purpose, status in said.items()
            for each in dict.fromkeys((speaker, *known.members))
            if each == speaker or (status == "granted" and (each, purpose) in refused)
        ]
        await self.intake.take(rows)
        return await self.consents(customer_id, policy)

    async def export(self, customer_id: str) -> CustomerExport:
        """Everything online that is about the customer.

        Raises:
            StateBehindError: State alone knows what is filed about them, and has yet to.

        """
        await self.basis.check()
        names = await all_names(customer_id, self.state, self.log)
        entries = await self.log.filed_under(names)
        profiles = {name: await self.features.profile(name) for name in names}
        return CustomerExport(
            customer_id=customer_id,
            exported_at=self.clock(),
            identifiers=tuple(each for name in names if (each := identifier_of(name))),
            state=await self.state.snapshot(customer_id, SnapshotScope(_EVER, _EVER)),
            features={name: dict(profile.features) for name, profile in profiles.items() if profile.features},
            log=tuple(entry for _, entry in entries),
        )

    async def erase(self, customer_id: str) -> Erasure:
        """Forget the customer; doing it again, where it was interrupted, finishes it.

        The entries of the log and the features come first: State alone knows under which names they are filed, and
        forgets it. Then the log says so, so that a State rebuilt from it forgets too; what came meanwhile goes as well.

        Raises:
            QuarantineUnavailableError: nothing was erased yet.
            LogUnavailableError: of the log nothing was erased yet, or not all.
            StateBehindError: nothing was erased: State has yet to know the customer's identifiers.
            StateUnavailableError: State has yet to forget.

        """
        await self.basis.check()
        names = await all_names(customer_id, self.state, self.log)
        near = await names_around(names, self.state)
        for name in names:
            await self.intake.quarantine.forget(name)
        entries, features = await self._finish(customer_id)
        entries += await self._strip(names, near)
        features += await self._forget_features(names)
        word = erasure(f"erasure/{uuid.uuid4().hex}", customer_id, self.clock(), names)
        await self.log.append([word])
        near |= await names_around(names, self.state)
        await self.state.apply([word], None)
        features += await self._forget_features(names)
        entries += await self._strip(names, near)
        return Erasure(customer_id=customer_id, log_entries=entries, features=features)

    async def _finish(self, customer_id: str) -> tuple[int, int]:
        """Do what earlier erasures of the customer may have left, where somebody new has not come to go by a name.

        State has forgotten which names those were; the log has not. Returns how many entries and features that were.
        """
        entries = features = 0
        for offset, word in await self.log.filed_under([customer_id]):
            if word.type == ERASURE:
                names = names_in(word)
                entries += await self._strip(names, await names_around(names, self.state), before=offset)
                left = {entry.partition_key for _, entry in await self.log.filed_under(names) if entry.type != ERASURE}
                features += await self._forget_features([name for name in names if name not in left])
        return entries, features

    async def _forget_features(self, names: Sequence[str]) -> int:
        return sum([await self.features.forget(name) for name in names])

    async def _refused(self, names: Sequence[str]) -> set[tuple[str, str]]:
        """By name and purpose every no that was not taken back under that name."""
        last: dict[tuple[str, str], tuple[datetime, bool]] = {}
        for said in well_formed([entry for _, entry in await self.log.filed_under(names)]):
            if isinstance(said, ConsentChanged):
                key, word = (said.customer_id, said.purpose), (said.at, said.status == "withdrawn")
                last[key] = max(last.get(key, word), word)
        return {key for key, (_, is_refusal) in last.items() if is_refusal}

    async def _strip(self, names: Sequence[str], near: Collection[str], before: int | None = None) -> int:
        """Leave of the entries about `names` so much as adds up; returns how many those were.

        What was said of one of them and somebody else, and decisions for whom they were one with, may be filed under
        the other: these are `near`. With `before` only what was logged up to that offset.
        """
        count = 0
        for name in {*names, *near}:
            found = await self.log.filed_under([name])
            earlier = [(offset, entry) for offset, entry in found if before is None or offset < before]
            left = [(offset, without(entry, names)) for offset, entry in earlier]
            changed = [new for old, new in zip(earlier, left, strict=True) if new[1] is not old[1]]
            if changed:
                await self.log.replace(changed)
            count += len(changed)
        return count


def _takes_back(known: Snapshot, said: Mapping[str, Status]) -> bool:
    """Whether a yes follows a no of somebody who goes by several names."""
    return bool(known.members) and any(
        status == "granted" and known.consents.get(purpose) == "withdrawn" for purpose, status in said.items()
    )
