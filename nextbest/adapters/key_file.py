"""The API keys of a home: one file that commands write and every replica reads.

Belongs here: the file, changed as a whole, and noticing that it was. Does not belong here: what a key is
(`nextbest.keys`).
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from nextbest.adapters.files import FOR_OWNER, write_whole
from nextbest.errors import NextbestError
from nextbest.keys import SECRET_BYTES, SLOTS, Key, Scope, hashed, written

_decode = msgspec.json.Decoder(tuple[Key, ...]).decode


class KeyFileError(NextbestError):
    """Keys that cannot be read or changed; the message says what to do."""


class KeyFile:
    """The keys in the file at `path`; no file, no keys."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mapping[str, Key]:
        """Every key by its id.

        Raises:
            KeyFileError: the file cannot be read.

        """
        try:
            return {key.id: key for key in _decode(self._path.read_bytes())}
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise KeyFileError(f"{self._path} holds no API keys: remove it, and create them anew ({error})") from error

    def create(self, name: str, scopes: Sequence[Scope], rate_per_s: int, now: datetime) -> tuple[Key, str]:
        """A new key: what is kept of it, and the key itself, which is kept nowhere.

        Raises:
            KeyFileError: there is no room for another one, or the file cannot be changed.

        """
        key_id, secret = secrets.token_hex(4), secrets.token_hex(SECRET_BYTES)
        with self._changing() as keys:
            used = {key.slot for key in keys.values()}
            slot = next((number for number in range(SLOTS) if number not in used), None)
            if slot is None:
                raise KeyFileError(f"there are {SLOTS:,} keys already: `nextbest keys revoke` those that nobody uses")
            key = Key(
                id=key_id,
                name=name,
                sha256=hashed(secret),
                scopes=tuple(dict.fromkeys(scopes)),
                rate_per_s=rate_per_s,
                slot=slot,
                created_at=now,
            )
            keys[key_id] = key
        return key, written(key_id, secret)

    def revoke(self, key_id: str) -> Key:
        """Remove a key: no replica takes it from now on.

        Raises:
            KeyFileError: there is no such key, or the file cannot be changed.

        """
        with self._changing() as keys:
            if key_id not in keys:
                raise KeyFileError("there is no such key: `nextbest keys list` shows those there are")
            return keys.pop(key_id)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """The keys, to be changed; written when all went well. Others wait."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                keys = dict(self.read())
                yield keys
                content = msgspec.json.format(msgspec.json.encode(tuple(keys.values()))) + b"\n"
                write_whole(self._path, content, mode=FOR_OWNER)
        except OSError as error:
            raise KeyFileError(f"the API keys cannot be changed: {error}") from error


class KeyRing:
    """The keys as they are at this moment: looking whether the file is another one takes two microseconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = KeyFile(path)
        self._seen: tuple[int, ...] | None = None
        self._keys: Mapping[str, Key] = {}

    def current(self) -> Mapping[str, Key]:
        """Every key by its id; none where the file cannot be read, for then nobody can say who may."""
        seen = self._version()
        if seen != self._seen:
            try:
                self._keys = self._file.read()
            except KeyFileError:
                self._keys = {}
            self._seen = seen
        return self._keys

    def _version(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._path)  # noqa: PTH116  three times as fast as a Path's
        except OSError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size)
