"""Where everything is: the one place that reads an environment variable.

Belongs here: every variable nextbest reads, and every path derived from `NEXTBEST_HOME`. Does not belong here: opening
any of those paths, or a default that depends on what is installed.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from nextbest.errors import SettingError
from nextbest.identity import Limits
from nextbest.links import REVIEW_FROM
from nextbest.model_set import MODELS

CHECKOUT = Path(__file__).resolve().parent.parent

_PROJECT_FOLDERS = {"contracts": "data_contracts", "policies": "policies", "dbt": "dbt_project"}


_PORTS = range(1, 65_536)
_BROKER = r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:[1-9]\d{0,4})?"
# A topic's name has up to 249 characters, and `….dead` beside it needs one too.
_TOPIC = r"(?!\.{1,2}(\?|$))[a-zA-Z0-9._-]{1,240}"
_LOG_URL = re.compile(rf"kafka://{_BROKER}(,{_BROKER})*/{_TOPIC}(\?partitions=[1-9]\d{{0,3}})?")


def _setting(variable: str, default: object, meaning: str, *, within: range | None = None) -> Any:
    return field(default=default, metadata={"variable": variable, "meaning": meaning, "within": within})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, with the variable it is read from and what it means (`Settings.describe`)."""

    home: Path = _setting("NEXTBEST_HOME", CHECKOUT, "the project: its state is in `.nextbest/` below it")
    host: str = _setting(
        "NEXTBEST_HOST",
        "127.0.0.1",
        "address the API, Dagster and MLflow bind to; everything else of the servers stays on the loopback interface",
    )
    http_port: int = _setting("NEXTBEST_HTTP_PORT", 8000, "port of the decision API", within=_PORTS)
    dagster_port: int = _setting("NEXTBEST_DAGSTER_PORT", 3000, "port of the Dagster UI", within=_PORTS)
    mlflow_port: int = _setting("NEXTBEST_MLFLOW_PORT", 5000, "port of the MLflow UI", within=_PORTS)
    source: str = _setting(
        "NEXTBEST_SOURCE",
        "nextbest.adapters.complete_journey:CompleteJourney",
        "where data comes from: `module:Class`, `mappings` (the queries in the home's folder of that name), or `none` "
        "when files are landed with `nextbest ingest`",
    )
    households: int = _setting(
        "NEXTBEST_HOUSEHOLDS",
        0,
        "households of the demo data to take; 0 takes all; of few (500, say) the gates may let no model pass: then "
        "there is no champion, and every decision is a fallback",
        within=range(1_000_000),
    )
    live_weeks: int = _setting(
        "NEXTBEST_LIVE_WEEKS",
        0,
        "last weeks of the demo data's purchases that are not imported, so that they may come as live events",
        within=range(27),
    )
    models: str = _setting(
        "NEXTBEST_MODELS",
        "",
        f"models that the pipeline trains, with commas between: {', '.join(MODELS)}; empty trains all of them",
    )
    demo_trial: bool = _setting(
        "NEXTBEST_DEMO_TRIAL",
        False,
        "add to the demo data a simulated trial of its last weeks: random decisions, what was seen of them and what "
        "came of it, for models of engagement and uplift to learn from",
    )
    state_url: str = _setting(
        "NEXTBEST_STATE",
        "",
        "where State and online features are: empty for SQLite files in the home, or `redis://host:port/db` for a "
        "server that several machines share (after a move `nextbest pipeline` fills its features); without "
        "`appendfsync always` a crash of it may forget what it reserved last",
    )
    log_url: str = _setting(
        "NEXTBEST_LOG",
        "",
        "where the event log is: empty for an SQLite file in the home, or `kafka://host:port/topic` (several hosts "
        "with commas) for a topic of Kafka, of which that file is then a copy; a topic that is not there yet is made, "
        "with `?partitions=N` of more than one",
    )
    identity_limits: str = _setting(
        "NEXTBEST_IDENTITY_LIMITS",
        "email=2",
        "how many customers may share an identifier of a kind and be one person for it (1 for a kind not named), how "
        "many customer ids one person may have (`customers=5`), and how many identifiers of a customer count "
        "(`identifiers=50`, the newest); `nextbest log replay` merges anew by other limits",
    )
    inbox_folder: str = _setting(
        "NEXTBEST_INBOX",
        ".nextbest/inbox",
        "folder whose files are landed as they come, each in a folder named like its contract; below the home unless "
        "it begins with `/`",
    )
    replicas: int = _setting(
        "NEXTBEST_REPLICAS",
        1,
        "decision replicas to start with; what `nextbest scale` says holds until this changes",
        within=range(1, 65),
    )
    budget_ms: int = _setting(
        "NEXTBEST_BUDGET_MS",
        500,
        "milliseconds that a decision may take where the request does not say; what would come later is a fallback",
        within=range(1, 60_001),
    )
    link_probability: float = _setting(
        "NEXTBEST_LINK_PROBABILITY",
        0.95,
        "probability from which two customers are linked as one person without anybody having looked: 0.95 is right "
        "where a wrong link costs nineteen times what a missed one does; above 1 nothing is, and all waits for review",
    )
    alert_webhook: str = _setting(
        "NEXTBEST_ALERT_WEBHOOK",
        "",
        "URL that is told of failed runs and of an unusual stream of events, in JSON with a `text`; empty tells nobody",
    )
    haproxy: bool = _setting("NEXTBEST_HAPROXY", True, "put HAProxy before the replicas instead of Ray's Python proxy")

    def __post_init__(self) -> None:
        """Refuse a number out of its bounds, servers in each other's way, and a State or a log of no kind."""
        _check_state_url(self.state_url)
        _check_log_url(self.log_url)
        Limits.parse(self.identity_limits)
        if unknown := sorted({*self.trained} - {*MODELS}):
            raise SettingError(f"NEXTBEST_MODELS names {', '.join(unknown)}: there are {', '.join(MODELS)}")
        if not self.link_probability >= REVIEW_FROM:
            raise SettingError(
                f"NEXTBEST_LINK_PROBABILITY is {self.link_probability}: it takes {REVIEW_FROM} or more, "
                "for what is less probable is more likely two people"
            )
        ports: dict[int, str] = {}
        for f in fields(self):
            variable, within, value = f.metadata["variable"], f.metadata["within"], getattr(self, f.name)
            if within is not None and value not in within:
                raise SettingError(f"{variable} is {value}: it takes {within[0]} to {within[-1]}")
            if within == _PORTS and ports.setdefault(value, variable) != variable:
                raise SettingError(
                    f"{ports[value]} and {variable} are both {value}: every server needs a port of its own"
                )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from `env` (default: the process environment); an empty value is an unset one.

        Raises:
            SettingError: a value is not of its setting's type or out of its bounds, two servers have one port, State
                is at no address of Redis, or the log at none of Kafka; the message names the variables.

        """
        env = os.environ if env is None else env
        values = {
            f.name: _parse(str(f.metadata["variable"]), env[f.metadata["variable"]], f.default)
            for f in fields(cls)
            if env.get(f.metadata["variable"])
        }
        return cls(**values)

    @classmethod
    def describe(cls) -> list[tuple[str, str, str]]:
        """Every setting as (variable, default, meaning), for the documentation and `--help`."""
        return [
            (f.metadata["variable"], "the checkout" if f.name == "home" else str(f.default), f.metadata["meaning"])
            for f in fields(cls)
        ]

    def folder(self, name: str) -> Path:
        """A project folder (`contracts`, `policies`, `dbt`): the home's own, or the checkout's where it has none."""
        own = self.home / _PROJECT_FOLDERS[name]
        return own if own.is_dir() else CHECKOUT / _PROJECT_FOLDERS[name]

    @property
    def trained(self) -> tuple[str, ...]:
        """The models that the pipeline trains."""
        return tuple(dict.fromkeys(filter(None, map(str.strip, self.models.split(","))))) or MODELS

    @property
    def feature_repo(self) -> Path:
        return CHECKOUT / "feature_repo"

    @property
    def state(self) -> Path:
        """Everything nextbest writes is below this folder; deleting it starts anew."""
        return self.home / ".nextbest"

    @property
    def landing(self) -> Path:
        return self.state / "landing"

    @property
    def quarantine(self) -> Path:
        return self.state / "quarantine"

    @property
    def inbox(self) -> Path:
        """Where files are dropped, in a folder per contract."""
        return self.home / self.inbox_folder

    @property
    def rejected_events(self) -> Path:
        """Rows that the API rejected; those of a delivery of files are beside it, by contract and batch."""
        return self.quarantine / "events.db"

    @property
    def warehouse(self) -> Path:
        return self.state / "warehouse" / "nextbest.duckdb"

    @property
    def marts(self) -> Path:
        return self.state / "marts"

    @property
    def proposed_links(self) -> Path:
        """Which customers may be one person, as the last run of the linkage model has it."""
        return self.state / "identity" / "proposals.json"

    @property
    def quality(self) -> Path:
        """What checks keep and show; the Dagster UI serves its pages (`quality_url`)."""
        return self.state / "quality"

    @property
    def ports(self) -> tuple[int, ...]:
        """Where this home's servers listen, whether they run or not."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.metadata["within"] == _PORTS)

    @property
    def dagster_url(self) -> str:
        return f"http://{self.host}:{self.dagster_port}"

    @property
    def feast_registry(self) -> Path:
        return self.state / "feast" / "registry.db"

    @property
    def feast_online(self) -> Path:
        return self.state / "feast" / "online.db"

    @property
    def state_server(self) -> str:
        """Where State and online features are, as it may be shown: without a password; empty on SQLite."""
        parts = urlsplit(self.state_url)
        return f"{parts.hostname}:{parts.port or 6379}/{parts.path.strip('/') or 0}" if self.state_url else ""

    @property
    def feast_online_store(self) -> dict[str, object]:
        """Feast's `online_store`: on the server of State where that is Redis, else a file in the home."""
        if not self.state_url:
            return {"type": "sqlite", "path": str(self.feast_online)}
        # Without `skip_dedup` Feast drops a row that is no newer than the stored one: rows of a day keep its midnight,
        # so what is computed a second time that day would never arrive. On SQLite it does.
        return {"type": "redis", "connection_string": _feast_address(self.state_url), "skip_dedup": True}

    @property
    def mlflow_store(self) -> Path:
        return self.state / "mlflow" / "mlflow.db"

    @property
    def mlflow_uri(self) -> str:
        return f"sqlite:///{self.mlflow_store}"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.state / "mlflow" / "artifacts"

    @property
    def dagster_home(self) -> Path:
        return self.state / "dagster"

    @property
    def event_log(self) -> Path:
        return self.state / "log" / "events.db"

    @property
    def skipped_records(self) -> Path:
        """Of the log: those that could not be brought into State."""
        return self.state / "log" / "skipped.json"

    @property
    def online_state(self) -> Path:
        return self.state / "online" / "state.db"

    @property
    def bundles(self) -> Path:
        return self.state / "bundles"

    @property
    def policies_archive(self) -> Path:
        """Every policy that ever decided, by its hash."""
        return self.state / "policies"

    @property
    def api_keys(self) -> Path:
        """Who may ask the API for what."""
        return self.state / "keys.json"

    @property
    def rates(self) -> Path:
        """How often each key has asked lately."""
        return self.run / "rates"

    @property
    def metrics(self) -> Path:
        """What each replica has counted since the server was started."""
        return self.run / "metrics"

    @property
    def stream_watch(self) -> Path:
        """What is usual of the stream of events, kept over a restart."""
        return self.run / "stream.json"

    @property
    def run(self) -> Path:
        """Process records and their log files."""
        return self.state / "run"

    def environment(self) -> dict[str, str]:
        """What a child process must see so that it finds the same home, and what dbt and Feast files refer to."""
        own = {f.metadata["variable"]: _format(getattr(self, f.name)) for f in fields(self)}
        return own | {
            "NEXTBEST_DBT_PROJECT": str(self.folder("dbt")),
            "NEXTBEST_LANDING": str(self.landing),
            "NEXTBEST_WAREHOUSE": str(self.warehouse),
            "NEXTBEST_MARTS": str(self.marts),
            "NEXTBEST_FEAST_REGISTRY": str(self.feast_registry),
            "NEXTBEST_FEAST_ONLINE": json.dumps(self.feast_online_store, ensure_ascii=False),
            "DAGSTER_HOME": str(self.dagster_home),
            "MLFLOW_TRACKING_URI": self.mlflow_uri,
        }


def is_topic(url: str) -> bool:
    """Whether it is the address of a topic: `kafka://host:port,host:port/topic?partitions=N`."""
    return _LOG_URL.fullmatch(url) is not None


def _check_state_url(url: str) -> None:
    """The message leaves out what was said: a password may be in it."""
    try:
        parts = urlsplit(url)
        host, database = parts.hostname or "", parts.path.strip("/")
        is_redis = parts.scheme in {"redis", "rediss"} and host and parts.port != 0
    except ValueError:  # the port is none
        host, database, is_redis = "", "", None
    if url and not (is_redis and (not database or database.isdecimal())):
        raise SettingError(
            "NEXTBEST_STATE is no address of Redis: it takes redis://host:port/db, or nothing for SQLite"
        )
    if ":" in host:
        raise SettingError("NEXTBEST_STATE has an IPv6 address, which Feast cannot read: it takes the name of the host")


def _check_log_url(url: str) -> None:
    """The message leaves out what was said, as that of State does."""
    if url and not is_topic(url):
        raise SettingError(
            "NEXTBEST_LOG is no topic of Kafka: it takes kafka://host:port/topic (host:port,host:port for several "
            "brokers, ?partitions=1 to 9999 at the end), or nothing for SQLite"
        )


def _feast_address(url: str) -> str:
    """The server of a Redis URL as Feast writes it: `host:port,name=value,…`, with the URL's options last."""
    parts = urlsplit(url)
    words = [f"{parts.hostname}:{parts.port or 6379}", f"db={parts.path.strip('/') or 0}"]
    if parts.scheme == "rediss":
        words.append("ssl=true")
    for name, said in (("username", parts.username), ("password", parts.password)):
        if said:
            # Feast cuts at commas and reads JSON: quoted, and without a comma, a word stays the text that it is.
            words.append(f"{name}={json.dumps(unquote(said))}".replace(",", "\\u002c"))
    return ",".join(words + [f"{name}={value}" for name, value in parse_qsl(parts.query)])


def _parse(variable: str, text: str, default: object) -> Any:
    if isinstance(default, bool):
        if text.lower() not in {"0", "1", "false", "true"}:
            raise SettingError(f"{variable} is {text!r}: it takes 0 or 1")
        return text.lower() in {"1", "true"}
    if isinstance(default, int):
        if not text.isdecimal():
            raise SettingError(f"{variable} is {text!r}: it takes a whole number")
        return int(text)
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            raise SettingError(f"{variable} is {text!r}: it takes a number") from None
    return Path(text).expanduser().resolve() if isinstance(default, Path) else text


def _format(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
