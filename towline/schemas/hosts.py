"""Which hosts a package may come from: names, and the addresses that they turn out to have.

A name says nothing of where it leads, so the address that was connected to is judged as well: who
names the URLs must not make a device, or the server, ask what only its own neighbours may ask.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from towline.schemas.problems import Refused


@dataclass(frozen=True, slots=True)
class Hosts:
    """The rule; without names every host that is no neighbour by itself is allowed."""

    own: tuple[str, int] | None = None
    """Host and port that are always allowed: the server that named the URL."""
    names: Sequence[str] = ()
    """Names and addresses that are allowed, whatever they turn out to be; then no others are."""

    def check_name(self, host: str, port: int) -> None:
        """Before anything is looked up; raises Refused `host`."""
        if (host, port) == self.own:
            return
        if self.names:
            if host.lower() not in self.names:
                raise Refused("host", f"{host} is not listed")
        elif _is_number(host):
            raise Refused("host", f"{host} is an address: only listed ones are asked")

    def check_address(self, host: str, port: int, address: str) -> None:
        """Before anything is sent to `address`, which `host` led to; raises Refused `host`."""
        is_vouched_for = (host, port) == self.own or bool(self.names)
        if not is_vouched_for and is_near(address):
            raise Refused("host", f"{host} leads to {address}")


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Where networks without IPv4 see all of it: the IPv4 address is in the last four bytes."""


def is_near(address: str) -> bool:
    """Whether an address is this machine's or of its own link: no place for packages."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            # Through a translator, which leads to public addresses and to no others (RFC 6052).
            inside = ipaddress.IPv4Address(found.packed[-4:])
            return inside.is_multicast or not inside.is_global
        found = found.ipv4_mapped or found
    return (
        found.is_loopback
        or found.is_link_local
        or found.is_multicast
        or found.is_unspecified
        or found.is_reserved
    )


def _is_number(host: str) -> bool:
    """An address in any of its forms: `2130706433`, `0x7f.1` and `127.1` are 127.0.0.1, too."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return ":" in host or last.isdecimal() or last.startswith("0x")
