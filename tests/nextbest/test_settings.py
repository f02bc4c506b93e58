"""The settings and the variables they are read from."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from nextbest.errors import SettingError
from nextbest.settings import CHECKOUT, Settings


def test_defaults_need_no_variable() -> None:
    """With nothing set, the home is the checkout and everything binds to this machine alone."""
    settings = Settings.from_env({})
    assert settings.home == CHECKOUT
    assert settings.host == "127.0.0.1"


def test_a_model_named_twice_is_trained_once() -> None:
    """Two assets of one name end the pipeline."""
    assert Settings.from_env({"NEXTBEST_MODELS": "clv, propensity,clv,"}).trained == ("clv", "propensity")


def test_every_setting_survives_the_way_to_a_child_process(tmp_path: Path) -> None:
    """What `environment` hands down, `from_env` reads back unchanged."""
    settings = Settings(
        home=tmp_path,
        http_port=8123,
        households=40,
        demo_trial=True,
        haproxy=False,
        source="none",
        link_probability=0.9,
    )
    assert Settings.from_env(settings.environment()) == settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NEXTBEST_HTTP_PORT", "eighty"),
        ("NEXTBEST_HAPROXY", "maybe"),
        ("NEXTBEST_DEMO_TRIAL", "perhaps"),
        ("NEXTBEST_LINK_PROBABILITY", "surely"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, value: str) -> None:
    """A value of the wrong type is an error that says which variable holds it."""
    with pytest.raises(SettingError, match=f"{variable} is '{value}'"):
        Settings.from_env({variable: value})


@pytest.mark.parametrize(
    ("variable", "value", "bounds"),
    [
        ("NEXTBEST_HTTP_PORT", "0", "1 to 65535"),
        ("NEXTBEST_DAGSTER_PORT", "65536", "1 to 65535"),
        ("NEXTBEST_MLFLOW_PORT", "99999", "1 to 65535"),
        ("NEXTBEST_HOUSEHOLDS", "1000000", "0 to 999999"),
        ("NEXTBEST_REPLICAS", "0", "1 to 64"),
        ("NEXTBEST_LINK_PROBABILITY", "0.2", "0.5 or more"),
    ],
)
def test_a_number_out_of_bounds_names_its_variable(variable: str, value: str, bounds: str) -> None:
    """Said at once, not by whichever server meets it."""
    with pytest.raises(SettingError, match=f"{variable} is {value}: it takes {bounds}"):
        Settings.from_env({variable: value})


def test_two_servers_cannot_have_one_port() -> None:
    """The other's default counts too."""
    with pytest.raises(SettingError, match="NEXTBEST_HTTP_PORT and NEXTBEST_DAGSTER_PORT are both 3000"):
        Settings.from_env({"NEXTBEST_HTTP_PORT": "3000"})


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "redis://:secret@state.example", "rediss://h:1"])
def test_state_may_be_on_redis(url: str) -> None:
    """Port and database may be left out."""
    assert Settings.from_env({"NEXTBEST_STATE": url}).state_url == url


@pytest.mark.parametrize("url", ["postgres://:secret@h", "redis://", "redis://h:secret", "redis://h/secret", "secret"])
def test_a_state_at_no_address_of_redis_is_refused(url: str) -> None:
    """Said at once, and without the password that may be in it."""
    with pytest.raises(SettingError, match="NEXTBEST_STATE is no address of Redis") as refused:
        Settings.from_env({"NEXTBEST_STATE": url})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["kafka://127.0.0.1:9092/events", "kafka://one,two.example:9,[::1]:9/nextbest.log-1?partitions=12"]
)
def test_the_log_may_be_on_kafka(url: str) -> None:
    """Several brokers of one cluster may be named; a port may be left out."""
    assert Settings.from_env({"NEXTBEST_LOG": url}).log_url == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://secret:1/topic",
        "kafka:///secret",
        "kafka://secret:9092",
        "kafka://secret:9092/",
        "kafka://secret:port/topic",
        "kafka://me:secret@h:9092/topic",
        "kafka://h:1,,h:2/secret",
        "kafka://secret:9092/a/b",
        "kafka://secret:9092/..",
        "kafka://secret:9092/..?partitions=2",
        "kafka://[secret/topic",
        "kafka://secret:9092/topic?partitions=0",
        "kafka://secret:9092/topic?partitons=2",
        "secret",
    ],
)
def test_a_log_at_no_topic_of_kafka_is_refused(url: str) -> None:
    """Said at once, and without what may be a password."""
    with pytest.raises(SettingError, match="NEXTBEST_LOG is no topic of Kafka") as refused:
        Settings.from_env({"NEXTBEST_LOG": url})
    assert "secret" not in str(refused.value)


def test_feast_keeps_online_features_where_state_is(tmp_path: Path) -> None:
    """Below the home, or on the same database of the same server."""
    settings = Settings(home=tmp_path)
    assert settings.feast_online_store == {"type": "sqlite", "path": str(settings.feast_online)}
    store = Settings(home=tmp_path, state_url="redis://state.example/2").feast_online_store
    assert (store["type"], store["connection_string"]) == ("redis", "state.example:6379,db=2")


@pytest.mark.parametrize("password", ["1e5", "true", "a,db=9", 'quo"te', "per%cent", "größer=$HOME"])
def test_a_password_reaches_feast_as_it_is(password: str) -> None:
    """Feast cuts its address at commas and reads the values as JSON, where that is what they could be."""
    settings = Settings(state_url=f"rediss://me:{quote(password)}@h:1/3?socket_timeout=2&ssl_cert_reqs=none")
    address, *words = str(settings.feast_online_store["connection_string"]).split(",")
    values = dict(word.split("=", 1) for word in words)
    assert (address, values["db"], values["ssl"]) == ("h:1", "3", "true")
    assert (json.loads(values["username"]), json.loads(values["password"])) == ("me", password)
    assert (values["socket_timeout"], values["ssl_cert_reqs"]) == ("2", "none")
    assert password not in settings.state_server


def test_an_address_that_feast_cannot_read_is_refused() -> None:
    """It would take the colons of IPv6 for the port."""
    with pytest.raises(SettingError, match="the name of the host"):
        Settings(state_url="redis://[::1]:6379/0")


def test_a_home_uses_its_own_folders_and_else_the_checkout(tmp_path: Path) -> None:
    """A project of one's own overrides the contracts it has and inherits the rest."""
    (tmp_path / "data_contracts").mkdir()
    settings = Settings(home=tmp_path)
    assert settings.folder("contracts") == tmp_path / "data_contracts"
    assert settings.folder("policies") == CHECKOUT / "policies"


def test_every_setting_is_documented() -> None:
    """Each variable stands in the README with its meaning."""
    readme = (CHECKOUT / "README.md").read_text()
    missing = [variable for variable, _, _ in Settings.describe() if f"`{variable}`" not in readme]
    assert missing == []


def test_few_households_are_warned_of() -> None:
    """Whoever takes a sample to try things out finds no champion, and no fault."""
    (meaning,) = [meaning for variable, _, meaning in Settings.describe() if variable == "NEXTBEST_HOUSEHOLDS"]
    assert "no champion" in meaning
    assert meaning in (CHECKOUT / "README.md").read_text()
