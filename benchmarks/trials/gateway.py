"""A gateway in front of a server, through which the network between it and its clients can be taken away.

Belongs here: passing bytes on, and the three ways in which a network fails. Does not belong here: what the bytes are.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Mode = Literal["open", "refusing", "silent"]
_CHUNK = 65_536
_LOOK_S = 0.2


class Gateway:
    """Listens at `port` of the loopback interface and passes everything on to `target`, as its mode says.

    `refusing` ends every connection and takes no other; `silent` takes connections, and keeps what comes over them.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self._mode: Mode = "open"
        self._listener: socket.socket | None = None
        self._pairs: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_open = threading.Event()
        self._is_open.set()
        self._ended = threading.Event()
        self._listen()

    @contextmanager
    def being(self, mode: Mode) -> Iterator[None]:
        """In another mode for as long as the context lasts."""
        self._set(mode)
        try:
            yield
        finally:
            self._set("open")

    def close(self) -> None:
        self._ended.set()
        self._is_open.set()
        self._refuse()

    def _set(self, mode: Mode) -> None:
        if mode == "refusing":
            self._refuse()
        elif self._listener is None:
            self._listen()
        if mode == "silent":
            self._is_open.clear()
        else:
            self._is_open.set()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _refuse(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for each in pairs:
            _end(each)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=1.0)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                while not self._is_open.wait(_LOOK_S):
                    pass
                sink.sendall(chunk)
        _end(source)
        _end(sink)
        with self._lock:
            self._pairs -= {source, sink}


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
