"""API keys: who may ask the API for what, and how often.

Belongs here: the form of a key and what is kept of it: a hash, never the key. Does not belong here: where keys are kept
(`nextbest.adapters.key_file`), or asking for them (serving).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal

import msgspec

Scope = Literal["decide", "events", "consents", "admin", "metrics"]
SCOPES: Mapping[Scope, str] = MappingProxyType(
    {
        "decide": "ask for decisions",
        "events": "say what happened",
        "consents": "see and change customers' consents",
        "admin": "read decisions and what is kept of customers, erase customers, pause actions",
        "metrics": "read the server's metrics",
    }
)
SECRET_BYTES = 32
SLOTS = 1_024
"""Most keys at a time; each has a slot of its own, by which replicas count its requests."""
_FORM = re.compile(r"nb_(?P<id>[0-9a-f]{8})_(?P<secret>[0-9a-f]{64})")


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a key. The secret has 256 random bits, so a plain hash of it cannot be guessed."""

    id: str
    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    rate_per_s: int
    """Most requests in a second, over all replicas of a machine; 0 for no limit."""
    slot: int
    created_at: datetime


def written(key_id: str, secret: str) -> str:
    """The key as its owner writes it."""
    return f"nb_{key_id}_{secret}"


def hashed(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def id_of(text: str) -> str:
    """The id of the key that `text` is; `text` itself where it is no key."""
    form = _FORM.fullmatch(text)
    return form["id"] if form else text


def found(text: str, keys: Mapping[str, Key]) -> Key | None:
    """The key that `text` is; the time it takes tells nothing about how much of it is right."""
    form = _FORM.fullmatch(text)
    if form is None:
        return None
    key = keys.get(form["id"])
    kept = key.sha256 if key else hashed("")
    return key if hmac.compare_digest(hashed(form["secret"]), kept) else None
