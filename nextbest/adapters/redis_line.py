"""A line to Redis: one connection, on which any number of commands are under way at a time.

Belongs here: connecting, sending and reading, and what becomes of commands when the server is down or slow. Does not
belong here: what commands mean (`redis_state`, `redis_features`). A client library's pool, locks and retries cost five
times as much as the command itself (ADR 15); replies are parsed by hiredis.
"""

import asyncio
import hashlib
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import hiredis

_CHUNK_BYTES = 65_536
_PORT = 6_379
Word = str | bytes | int


class LineError(Exception):
    """The server could not be reached, or did not answer in time; the message says which."""


class Address(NamedTuple):
    """Where a server is, and who asks it."""

    host: str
    port: int
    database: int
    user: str
    password: str
    is_encrypted: bool

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address in `redis://user:password@host:port/db`; `rediss` encrypts."""
        parts = urlsplit(url)
        return cls(
            parts.hostname or "127.0.0.1",
            parts.port or _PORT,
            int(parts.path.strip("/") or 0),
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            parts.scheme == "rediss",
        )

    @property
    def greeting(self) -> list[tuple[Word, ...]]:
        """What is said first."""
        words: list[tuple[Word, ...]] = []
        if self.password:
            words.append(("AUTH", self.user, self.password) if self.user else ("AUTH", self.password))
        if self.database:
            words.append(("SELECT", self.database))
        return words


class _Command(NamedTuple):
    reply: "asyncio.Future[Any]"
    sent_at: float


def packed(*words: Word) -> bytes:
    """A command as it is sent."""
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # it takes any number of words
    return command


class Line:
    """A connection that belongs to one event loop, made when it is first used and again after it broke.

    Replies come in the order of the commands. When the oldest has waited for `patience_s` seconds, the connection is
    given up with all that wait on it.
    """

    def __init__(self, address: Address, patience_s: float, *, as_text: bool = True) -> None:
        self._address = address
        self._patience_s = patience_s
        self._encoding = "utf-8" if as_text else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader(encoding=self._encoding)
        self._commands: deque[_Command] = deque()
        self._unsent = bytearray()
        self._connecting: asyncio.Future[None] | None = None
        self._watch: asyncio.TimerHandle | None = None

    async def ask(self, command: bytes) -> Any:
        """The reply to a command (`packed`); sent twice where the connection turns out to be from before a restart.

        Raises:
            LineError: there is none.
            hiredis.ReplyError: the server refuses the command.

        """
        is_new = self._socket is None
        if is_new:
            await self._connect()
        try:
            reply = await self.send(command)
        except LineError:
            if is_new:
                raise
            await self._connect()
            reply = await self.send(command)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def send(self, command: bytes) -> "asyncio.Future[Any]":
        """Send a command on the open line; the future is its reply, which may be a `hiredis.ReplyError`.

        Raises:
            LineError: through the future: the connection broke, or the server did not answer in time.

        """
        loop = self._loop
        if loop is None or self._socket is None:
            raise LineError("the connection is closed")
        reply: asyncio.Future[Any] = loop.create_future()
        self._commands.append(_Command(reply, time.monotonic()))
        if self._watch is None:
            self._watch = loop.call_later(self._patience_s, self._look_at_the_oldest)
        self._write(command)
        return reply

    def close(self) -> None:
        """Break the connection off; whatever waits on it fails."""
        self._break("it was closed")

    async def _connect(self) -> None:
        """Connect, once for all who ask meanwhile."""
        loop = asyncio.get_running_loop()
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(self._open(loop))
            self._connecting.add_done_callback(self._connected)
        await asyncio.shield(self._connecting)

    def _connected(self, done: "asyncio.Future[None]") -> None:
        self._connecting = None
        if not done.cancelled():
            done.exception()  # whoever waited for it has it

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                self._socket = await self._dial(loop)
                self._loop = loop
                loop.add_reader(self._socket, self._read)
                refused = await self._greet()
        except OSError as error:  # a timeout is one, and what TLS refuses
            self._break("it did not answer in time")
            raise LineError(str(error) or "it did not answer in time") from error
        if refused:
            self._break(refused)
            raise LineError(refused)

    async def _greet(self) -> str:
        """Say who asks, and for what database; returns why the server refuses that, or nothing."""
        replies = [self.send(packed(*words)) for words in self._address.greeting]
        refused = [str(each) for each in [await reply for reply in replies] if isinstance(each, Exception)]
        return refused[0] if refused else ""

    async def _dial(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        address = self._address
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, place = found[0]
        dialled = socket.socket(family, kind, protocol)
        try:
            dialled.setblocking(False)
            dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(dialled, place)
            return await self._encrypted(dialled) if address.is_encrypted else dialled
        except BaseException:
            dialled.close()
            raise

    async def _encrypted(self, dialled: socket.socket) -> socket.socket:
        dialled.setblocking(True)
        dialled.settimeout(self._patience_s)
        context = ssl.create_default_context()
        wrapped = await asyncio.to_thread(context.wrap_socket, dialled, server_hostname=self._address.host)
        wrapped.setblocking(False)
        return wrapped

    def _write(self, command: bytes) -> None:
        """Send it at once on a line that is idle; else at the end of the loop's turn, with what comes until then."""
        is_pending = bool(self._unsent)
        self._unsent += command
        if is_pending or self._loop is None:
            return
        if len(self._commands) > 1:
            self._loop.call_soon(self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        self._send_some()
        if self._unsent and self._loop is not None and self._socket is not None:
            self._loop.add_writer(self._socket, self._write_rest)

    def _write_rest(self) -> None:
        self._send_some()
        if not self._unsent and self._loop is not None and self._socket is not None:
            self._loop.remove_writer(self._socket)

    def _send_some(self) -> None:
        if self._socket is None:
            return  # it broke: nobody waits for it any more
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._break(str(error))

    def _read(self) -> None:
        try:
            while self._socket is not None:
                content = self._socket.recv(_CHUNK_BYTES)
                if not content:
                    self._break("it closed the connection")
                    return
                self._reader.feed(content)
                self._answer()
                if len(content) < _CHUNK_BYTES and not isinstance(self._socket, ssl.SSLSocket):
                    return
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except (OSError, hiredis.ProtocolError) as error:
            self._break(str(error))

    def _answer(self) -> None:
        while (reply := self._reader.gets()) is not False:
            waiting = self._commands.popleft().reply
            if not waiting.done():
                waiting.set_result(reply)

    def _look_at_the_oldest(self) -> None:
        self._watch = None
        if not self._commands or self._loop is None:
            return
        left_s = self._commands[0].sent_at + self._patience_s - time.monotonic()
        if left_s <= 0.0:
            self._break("it did not answer in time")
        else:
            self._watch = self._loop.call_later(left_s, self._look_at_the_oldest)

    def _break(self, why: str) -> None:
        broken, waiting, loop = self._socket, self._commands, self._loop
        self._socket, self._commands, self._unsent = None, deque(), bytearray()
        self._reader = hiredis.Reader(encoding=self._encoding)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if broken is not None:
            if loop is not None and not loop.is_closed():
                loop.remove_reader(broken)
                loop.remove_writer(broken)
            broken.close()
        for command in waiting:
            if not command.reply.done():
                command.reply.set_exception(LineError(why))


class Lines:
    """A line for each event loop that asks; those of loops that have ended are closed."""

    def __init__(self, url: str, patience_s: float, *, as_text: bool = True) -> None:
        self._address = Address.of(url)
        self._patience_s = patience_s
        self._as_text = as_text
        self._lines: dict[asyncio.AbstractEventLoop, Line] = {}

    def here(self) -> Line:
        """The running loop's."""
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            for ended in [each for each in self._lines if each.is_closed()]:
                self._lines.pop(ended).close()
            line = self._lines[loop] = Line(self._address, self._patience_s, as_text=self._as_text)
        return line

    def close(self) -> None:
        """Break all of them off."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()


class Script(NamedTuple):
    """A script in Lua, and what the server calls it."""

    text: str
    digest: str

    @classmethod
    def of(cls, text: str) -> "Script":
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


async def run_script(line: Line, script: Script, words: Sequence[Word]) -> Any:
    """The reply of a script, which the server is told where it does not know it (any more).

    Raises:
        LineError: there is none.
        hiredis.ReplyError: the script fails.

    """
    try:
        return await line.ask(packed("EVALSHA", script.digest, *words))
    except hiredis.ReplyError as error:
        if not str(error).startswith("NOSCRIPT"):
            raise
    return await line.ask(packed("EVAL", script.text, *words))
