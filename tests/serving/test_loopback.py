"""What is open to whom: the listening sockets of a whole server, as the system reports them."""

import ipaddress
import socket

import psutil
import pytest

from tests.serving.server import Server

pytestmark = pytest.mark.integration

DASHBOARD, AGENT_OF_JOBS = 8265, 52365


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
    found = server.listening()
    names = {process.name().partition(".")[0] for process in server.processes()}
    assert {"gcs_server", "raylet", "haproxy", "ray::ServeController"} <= names
    assert len(found) >= 15
    assert [each for each in found if not ipaddress.ip_address(each[0]).is_loopback] == []
    assert {DASHBOARD, AGENT_OF_JOBS} & {port for _, port in found} == set()
    assert all(is_open(each) for each in found)
    outside = addresses_of_this_machine()
    assert [(address, port) for address in outside for _, port in found if is_open((address, port))] == []
