"""What is open to whom: the listening sockets of a whole server, as the system reports them."""

import ipaddress
import socket
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from nextbest.adapters.supervisor import free_ports
from nextbest.settings import Settings
from serving.cluster import Cluster
from tests.serving.server import Server

pytestmark = pytest.mark.integration

OTHER_ADDRESS = "127.0.0.2"
"""An address that nothing but the API may be at; Linux answers to all of 127.0.0.0/8."""
DASHBOARD, AGENT_OF_JOBS = 8265, 52365


def listening(server: Server) -> set[tuple[str, int]]:
    """Every address that a process of `server` listens at; an IPv4 address that IPv6 wraps is unwrapped."""
    connections = (each for process in server.processes() for each in process.net_connections("tcp"))
    return {(each.laddr.ip.removeprefix("::ffff:"), each.laddr.port) for each in connections if each.status == "LISTEN"}


def addresses_of_this_machine() -> list[str]:
    """Its IPv4 addresses that others reach, if it has any."""
    found = (each for addresses in psutil.net_if_addrs().values() for each in addresses)
    ours = [each.address for each in found if each.family == socket.AF_INET]
    return [address for address in ours if not ipaddress.ip_address(address).is_loopback]


def is_open(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


def test_everything_listens_on_the_loopback_interface_alone(server: Server) -> None:
    """Ray's servers, its agents, replicas and HAProxy: nothing answers from outside, and Ray takes no jobs at all."""
    found = listening(server)
    names = {process.name() for process in server.processes()}
    assert {"gcs_server", "raylet", "haproxy", "ray::ServeController"} <= names
    assert len(found) >= 15
    assert [each for each in found if not ipaddress.ip_address(each[0]).is_loopback] == []
    assert {DASHBOARD, AGENT_OF_JOBS} & {port for _, port in found} == set()
    assert all(is_open(each) for each in found)
    outside = addresses_of_this_machine()
    assert [(address, port) for address in outside for _, port in found if is_open((address, port))] == []


def test_another_host_opens_the_port_of_the_api_and_no_other(tmp_path: Path) -> None:
    """Two replicas, HAProxy's statistics and all of Ray stay where they were."""
    settings = replace(
        Settings(home=tmp_path), host=OTHER_ADDRESS, http_port=free_ports(OTHER_ADDRESS, 1)[0], replicas=2
    )
    server = Server.start(settings)
    try:
        found = listening(server)
        assert server.client.get("/healthz").status_code == 200
        assert {each for each in found if each[0] != "127.0.0.1"} == {(OTHER_ADDRESS, settings.http_port)}
        assert ("127.0.0.1", settings.http_port) not in found
    finally:
        server.end()
        Cluster(settings).end_processes()
