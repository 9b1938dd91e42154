"""What the text of a setting may be: each is refused before anything is done with it."""

from ipaddress import ip_network

from towline.manifests.remote import checked_proxy, checked_url, is_url
from towline.reconciler.store import address
from towline.schemas.identifiers import is_id
from towline.schemas.problems import Problem


def listed(text: str) -> list[str]:
    """The parts of a text with commas; an empty one has none."""
    return [each.strip() for each in text.split(",")] if text.strip() else []


def check(name: str, value: str, *, is_kept: bool) -> None:
    """Raises Problem for a text that the setting cannot have; `is_kept`: git keeps its place."""
    if name == "organization" and not is_id(value):
        raise Problem(
            f"organization {value!r} is no id: small letters, digits, dots, dashes and"
            " underscores, at most 63"
        )
    if name == "repository" and is_url(value):
        raise Problem(
            "repository is a folder, and this is a URL", remedy='write repository.url = "URL"'
        )
    if name == "repository_url":
        checked_url(value)
    if name == "repository_proxy":
        checked_proxy(value, may_hold_password=not is_kept)
    if name == "trusted_proxies":
        _check_proxies(value)
    if name == "store":
        address.checked_url(value, may_hold_password=not is_kept)


def _check_proxies(value: str) -> None:
    for each in listed(value):
        try:
            network = ip_network(each)
        except ValueError:
            raise Problem(
                f"{each!r} is no address of a proxy",
                remedy='write addresses or networks, as "10.0.0.5, 10.1.0.0/16"',
            ) from None
        if network.prefixlen == 0:
            raise Problem(f"{each} is everybody: whoever calls could say who they are")
