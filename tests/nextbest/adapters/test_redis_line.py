"""A line to Redis: many commands at once, each with its own reply, and an error when there is none."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hiredis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nextbest.adapters.redis_line import Address, LineError, Lines, Script, packed, run_script

PATIENCE_S = 5.0


@pytest.fixture
def server(redis_server: Any) -> Iterator[Any]:
    """Running when the test ends, whatever it did."""
    redis_server.command("FLUSHDB")
    yield redis_server
    redis_server.kill()
    redis_server.start()


def on(url: str, job: Any, patience_s: float = PATIENCE_S) -> Any:
    """What `job` comes to with a line to `url`."""

    async def run() -> Any:
        with closing(Lines(url, patience_s)) as lines:
            return await job(lines.here())

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://shop:6380/2", Address("shop", 6380, 2, "", "", False)),
        ("rediss://us%40r:p%3Aw@shop", Address("shop", 6379, 0, "us@r", "p:w", True)),
        ("redis://:word@127.0.0.1:1/", Address("127.0.0.1", 1, 0, "", "word", False)),
    ],
)
def test_an_address_is_read_as_it_is_written(url: str, address: Address) -> None:
    """With user, password and database; what is not said has its default."""
    assert Address.of(url) == address


def test_every_command_gets_its_own_reply(server: Any) -> None:
    """A thousand at once on one connection, large ones among them, and some that nobody waits for any more."""

    async def ask(line: Any) -> list[Any]:
        waiting = [asyncio.ensure_future(line.ask(packed("ECHO", f"{n}" * (n % 7 * 10_000 + 1)))) for n in range(1_000)]
        await asyncio.sleep(0)
        for each in waiting[::10]:
            each.cancel()
        return await asyncio.gather(*waiting, return_exceptions=True)

    for n, reply in enumerate(on(server.url, ask)):
        assert isinstance(reply, asyncio.CancelledError) if n % 10 == 0 else reply == f"{n}" * (n % 7 * 10_000 + 1)


def test_a_refused_command_is_an_error_of_its_own(server: Any) -> None:
    """Those after it are answered."""

    async def ask(line: Any) -> Any:
        await line.ask(packed("SET", "text", "x"))
        with pytest.raises(hiredis.ReplyError, match="WRONGTYPE"):
            await line.ask(packed("HGET", "text", "y"))
        return await line.ask(packed("GET", "text"))

    assert on(server.url, ask) == "x"


def test_a_script_is_told_once(server: Any) -> None:
    """A server that has forgotten it is told again."""
    script, words = Script.of("return ARGV[1]"), (0, "word")

    async def ask(line: Any) -> list[Any]:
        replies = [await run_script(line, script, words)]
        await line.ask(packed("SCRIPT", "FLUSH"))
        return [*replies, await run_script(line, script, words)]

    assert on(server.url, ask) == ["word", "word"]


def test_a_restarted_server_is_asked_again(server: Any) -> None:
    """The connection from before is dead, and nobody notices; while it is down, everybody is told."""

    async def ask(line: Any) -> Any:
        await line.ask(packed("SET", "kept", "1"))
        server.kill()
        for _ in range(2):
            with pytest.raises(LineError):
                await line.ask(packed("GET", "kept"))
        server.start()
        await line.ask(packed("PING"))
        server.kill()
        server.start()
        return await asyncio.gather(*(line.ask(packed("PING")) for _ in range(10)))

    assert on(server.url, ask) == ["PONG"] * 10


def test_a_server_that_hangs_is_given_up() -> None:
    """Whoever waits is told after the patience, and the next command tries a new connection."""

    async def ask() -> int:
        dialled = 0

        async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal dialled
            dialled += 1
            await asyncio.sleep(0.6)
            writer.close()

        hanging = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"redis://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
        with closing(Lines(url, 0.1)) as lines:
            for _ in range(2):
                waiting = (lines.here().ask(packed("PING")) for _ in range(3))
                replies = await asyncio.gather(*waiting, return_exceptions=True)
                assert [str(reply) for reply in replies] == ["it did not answer in time"] * 3
        hanging.close()
        await asyncio.sleep(0.7)
        return dialled

    assert asyncio.run(ask()) == 2


def test_a_wrong_password_is_said(server: Any) -> None:
    """By the server, in its words; the right one opens, also after it was changed."""
    server.command("CONFIG", "SET", "requirepass", "right")
    wrong = server.url.replace("redis://", "redis://:wrong@")
    right = server.url.replace("redis://", "redis://:right@")

    async def ping(line: Any) -> Any:
        return await line.ask(packed("PING"))

    with pytest.raises(LineError, match="invalid username-password pair"):
        on(wrong, ping)
    assert on(right, ping) == "PONG"
    on(right, lambda line: line.ask(packed("CONFIG", "SET", "requirepass", "")))


def test_databases_are_kept_apart(server: Any) -> None:
    """The one in the address is the one that is used."""
    other = server.url.removesuffix("/0") + "/3"
    on(other, lambda line: line.ask(packed("SET", "where", "three")))
    assert on(server.url, lambda line: line.ask(packed("GET", "where"))) is None
    assert on(other, lambda line: line.ask(packed("GET", "where"))) == "three"
    on(other, lambda line: line.ask(packed("FLUSHDB")))


def test_each_event_loop_has_a_line_of_its_own(server: Any) -> None:
    """A loop that has ended takes no other's connection with it."""
    with closing(Lines(server.url, PATIENCE_S)) as lines:

        async def ping() -> Any:
            return await lines.here().ask(packed("PING"))

        assert [asyncio.run(ping()) for _ in range(3)] == ["PONG"] * 3


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of this machine, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


def through(server: Any, certificate: tuple[Path, Path], job: Any) -> Any:
    """What `job` comes to with an encrypted line, at whose other end somebody decrypts for the server."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while content := await reader.read(65_536):
            writer.write(content)
            await writer.drain()
        writer.close()

    async def decrypt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pass_on(reader, forth), pass_on(back, writer), return_exceptions=True)

    async def run() -> Any:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        proxy = await asyncio.start_server(decrypt, "127.0.0.1", 0, ssl=context)
        with closing(Lines(f"rediss://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", PATIENCE_S)) as lines:
            try:
                return await job(lines.here())
            finally:
                lines.close()
                proxy.close()
                await asyncio.sleep(0.1)

    return asyncio.run(run())


def test_an_encrypted_line_says_the_same(
    server: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large replies too; a certificate that nobody vouches for is refused."""
    large = "x" * 300_000

    async def ask(line: Any) -> Any:
        return await asyncio.gather(*(line.ask(packed("ECHO", f"{n}{large}")) for n in range(5)))

    with pytest.raises(LineError, match="certificate verify failed"):
        through(server, certificate, ask)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert through(server, certificate, ask) == [f"{n}{large}" for n in range(5)]
