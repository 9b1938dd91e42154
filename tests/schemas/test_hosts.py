"""Which hosts are asked for packages: by their names, then by where the names lead."""

from functools import partial

import pytest

from tests.schemas.documents import code_of
from towline.schemas.hosts import Hosts, is_near

OWN = ("127.0.0.1", 8443)


@pytest.mark.parametrize("host", ["cdn.example.com", "files", "1e100.net", "10.example"])
def test_without_a_list_any_name_is_asked(host: str) -> None:
    Hosts(OWN).check_name(host, 443)


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "127.0.0.1", "2130706433", "0x7f.1", "0X7F000001", "127.1", "::1", "1.2.3.4."],
)
def test_without_a_list_no_address_is_asked_in_any_of_its_forms(host: str) -> None:
    assert code_of(lambda: Hosts(OWN).check_name(host, 443)) == "host"


def test_only_the_servers_own_port_is_its_own() -> None:
    Hosts(OWN).check_name(*OWN)
    Hosts(OWN).check_address(*OWN, "127.0.0.1")
    assert code_of(lambda: Hosts(OWN).check_name("127.0.0.1", 22)) == "host"
    assert code_of(lambda: Hosts(OWN).check_address("a.example", 8443, "127.0.0.1")) == "host"


def test_what_is_listed_may_be_anything_and_nothing_else_is_asked() -> None:
    hosts = Hosts(OWN, ("files.example", "10.0.0.1"))
    for host, address in (("files.example", "127.0.0.1"), ("10.0.0.1", "10.0.0.1")):
        hosts.check_name(host, 443)
        hosts.check_address(host, 443, address)
    hosts.check_name("FILES.example", 443)
    hosts.check_name(*OWN)
    for host in ("example", "a.files.example", "files.example.", "10.0.0.2"):
        assert code_of(partial(hosts.check_name, host, 443)) == "host"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("0.0.0.0", True),  # noqa: S104
        ("169.254.169.254", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("::1", True),
        ("::", True),
        ("fe80::1%eth0", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:169.254.169.254", True),
        ("ff02::1", True),
        ("64:ff9b::127.0.0.1", True),
        ("64:ff9b::169.254.169.254", True),
        ("64:ff9b::10.1.2.3", True),
        ("64:ff9b::224.0.0.1", True),
        ("64:ff9b:0:0:0:1:5db8:d822", True),
        ("10.1.2.3", False),
        ("192.168.1.1", False),
        ("93.184.216.34", False),
        ("::ffff:93.184.216.34", False),
        ("2606:2800:220:1::1", False),
        ("fd00::1", False),
        ("64:ff9b::93.184.216.34", False),
    ],
)
def test_neighbours_are_known_by_their_addresses(address: str, expected: bool) -> None:
    assert is_near(address) is expected
