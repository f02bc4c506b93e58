"""Feast's settings are those of the home that is asked for."""

from pathlib import Path

from nextbest.adapters.feast_files import repo_config
from nextbest.settings import Settings


def test_every_path_is_below_the_home(tmp_path: Path) -> None:
    """Whatever this process' own home is."""
    settings = Settings(home=tmp_path / 'größer, "quoted"')
    config = repo_config(settings)
    assert config["registry"] == str(settings.feast_registry)
    assert config["online_store"] == {"type": "sqlite", "path": str(settings.feast_online)}


def test_the_online_store_may_be_on_redis(tmp_path: Path) -> None:
    """A password comes through three ways of writing it down."""
    settings = Settings(home=tmp_path, state_url="redis://:a%2C%24b%22@h:1/2")
    address = 'h:1,db=2,password="a\\u002c$b\\""'
    assert repo_config(settings)["online_store"] == settings.feast_online_store
    assert settings.feast_online_store["connection_string"] == address
