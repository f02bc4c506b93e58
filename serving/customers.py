"""What a customer may see and change: consents, everything that is kept, and that nothing is kept any more.

Belongs here: the way of each through log, State and feature store. Does not belong here: HTTP (`serving.routes`), or
what is left of an entry after an erasure (`nextbest.erasure`).
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from nextbest.envelope import Identifier
from nextbest.erasure import ERASURE, erasure, without_customer
from nextbest.log import EventLog
from nextbest.policy import Policy
from nextbest.state import SnapshotScope, State
from nextbest.wire import Consent, Consents, CustomerExport, Erasure, EventRow, Status
from serving.basis import Basis
from serving.decider import FeatureReader
from serving.intake import Intake
from serving.names import CustomerNames

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

    async def resolve(self, name: str) -> str | None:
        """The customer id that `name` is, or that its identifier belongs to; none for an unknown one.

        Raises:
            msgspec.ValidationError: it is no name of a customer.
            StateBehindError: it is unknown to a State that has yet to catch up.

        """
        whom = self.names.meant_by(name)
        if whom.kind is None or whom.hmac is None:
            return whom.customer_id
        customer_id = await self.state.customer_of((Identifier(kind=whom.kind, hmac=whom.hmac),))
        if customer_id is None:
            await self.basis.check()
        return customer_id

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

    async def say(self, customer_id: str, said: Mapping[str, Status], policy: Policy) -> Consents:
        """Log what the customer says and bring it into State: it binds the next decision.

        Raises:
            LogUnavailableError: nothing was said.
            StateUnavailableError: it is logged, and binds once State has it.

        """
        now = self.clock()
        rows = [
            EventRow(
                "consents",
                {
                    "consent_id": uuid.uuid4().hex,
                    "customer_id": customer_id,
                    "purpose": purpose,
                    "status": status,
                    "regime": policy.regimes[purpose],
                    "occurred_at": now.isoformat(),
                },
            )
            for purpose, status in said.items()
        ]
        await self.intake.take(rows)
        return await self.consents(customer_id, policy)

    async def export(self, customer_id: str) -> CustomerExport:
        """Everything online that is about the customer.

        Raises:
            StateBehindError: State alone knows what is filed about them, and has yet to.

        """
        await self.basis.check()
        identifiers = await self.state.identifiers_of(customer_id)
        entries = await self.log.filed_under(_filing(customer_id, identifiers))
        return CustomerExport(
            customer_id=customer_id,
            exported_at=self.clock(),
            identifiers=identifiers,
            state=await self.state.snapshot(customer_id, SnapshotScope(_EVER, _EVER)),
            features=dict((await self.features.profile(customer_id)).features),
            log=tuple(entry for _, entry in entries),
        )

    async def erase(self, customer_id: str) -> Erasure:
        """Forget the customer; doing it again, where it was interrupted, finishes it.

        The entries of the log come first: State alone knows under which identifiers they are filed, and forgets it.
        Then the log says so, so that a State rebuilt from it forgets too.

        Raises:
            QuarantineUnavailableError: nothing was erased yet.
            LogUnavailableError: of the log nothing was erased yet, or not all.
            StateBehindError: nothing was erased: State has yet to know the customer's identifiers.
            StateUnavailableError: State has yet to forget.

        """
        await self.basis.check()
        filing = _filing(customer_id, await self.state.identifiers_of(customer_id))
        await self.intake.quarantine.forget(customer_id)
        before = await self._strip(filing)
        word = erasure(f"erasure/{uuid.uuid4().hex}", customer_id, self.clock())
        await self.log.append([word])
        await self.state.apply([word], None)
        features = await self.features.forget(customer_id)
        meanwhile = await self._strip(filing)
        return Erasure(customer_id=customer_id, log_entries=before + meanwhile, features=features)

    async def _strip(self, filing: list[str]) -> int:
        """Leave of the entries that are filed so what adds up; returns how many those were."""
        found = await self.log.filed_under(filing)
        entries = [(offset, without_customer(entry)) for offset, entry in found if entry.type != ERASURE]
        await self.log.replace(entries)
        return len(entries)


def _filing(customer_id: str, identifiers: tuple[Identifier, ...]) -> list[str]:
    """The partition keys under which entries about the customer are filed."""
    return [customer_id, *(f"{each.kind}:{each.hmac}" for each in identifiers)]
