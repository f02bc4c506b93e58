"""Records that nobody can make anything of, put into the log past the door that would have turned them away.

Belongs here: writing them where each backend keeps its records. Does not belong here: what happens then.
"""

import asyncio
import uuid
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiokafka

from nextbest.adapters.logs import open_log
from nextbest.envelope import Envelope
from nextbest.settings import Settings

_TYPES = ("decision", "consent", "identity", "impression", "erasure", "pause", "of no kind")


def poison(settings: Settings) -> None:
    """Append an envelope of every type whose properties are nothing of the kind; to a topic, also what is none."""
    if settings.log_url:
        asyncio.run(_send_noise(settings))
    with closing(open_log(settings)) as log:
        log.append_sync([_nonsense(kind) for kind in _TYPES])


def _nonsense(kind: str) -> Envelope:
    now = datetime.now(UTC)
    return Envelope(
        event_id=f"poison/{uuid.uuid4().hex}",
        type=kind,
        contract="events",
        contract_version="0",
        source="live",
        occurred_at=now,
        received_at=now,
        partition_key="poison",
        decision_id="poison",
        properties={"slot": "none", "record": 7, "customer_id": ["c1"], "at": {}},
    )


async def _send_noise(settings: Settings) -> None:
    address = urlsplit(settings.log_url)
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=address.netloc) as producer:
        await producer.send_and_wait(address.path.strip("/"), b"\xff{ no envelope", key=b"poison")
