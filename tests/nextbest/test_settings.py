"""The settings and the variables they are read from."""

from pathlib import Path

import pytest

from nextbest.errors import SettingError
from nextbest.settings import CHECKOUT, Settings


def test_defaults_need_no_variable() -> None:
    """With nothing set, the home is the checkout and everything binds to this machine alone."""
    settings = Settings.from_env({})
    assert settings.home == CHECKOUT
    assert settings.host == "127.0.0.1"


def test_every_setting_survives_the_way_to_a_child_process(tmp_path: Path) -> None:
    """What `environment` hands down, `from_env` reads back unchanged."""
    settings = Settings(home=tmp_path, http_port=8123, households=40, haproxy=False, source="none")
    assert Settings.from_env(settings.environment()) == settings


@pytest.mark.parametrize(("variable", "value"), [("NEXTBEST_HTTP_PORT", "eighty"), ("NEXTBEST_HAPROXY", "maybe")])
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
