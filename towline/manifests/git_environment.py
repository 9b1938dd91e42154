"""The environment in which git fetches: what the settings say, and nothing else.

Nobody is ever asked, and no configuration of the machine or the user counts: not git's, not ssh's,
no netrc, no proxy variable, no hook. Configuration and secrets go by environment, because command
lines are seen by everyone on the machine.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from towline.manifests.remote import Remote

_KEPT = ("PATH", "TMPDIR", "SSH_AUTH_SOCK")
_NOTHING = "/dev/null"
CONNECT_TIMEOUT_S = 15
ISOLATION = {
    "GIT_CONFIG_GLOBAL": _NOTHING,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
"""Keeps the machine's and the user's configuration of git away."""

_ANSWER = (
    """!printf 'username=%s\\npassword=%s\\n' "$TOWLINE_GIT_USERNAME" "$TOWLINE_GIT_PASSWORD" ;:"""
)
"""A credential helper in git's sense: git runs it in sh, where printf is no process of its own."""


def fetch_environment(remote: Remote, mirror: Path) -> dict[str, str]:
    """All variables for fetching from `remote` into `mirror`; raises Problem without its secret."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= ISOLATION
    # No netrc, no cookies, no ~/.config: this folder has none of them.
    environment["HOME"] = str(mirror)
    environment["GIT_ALLOW_PROTOCOL"] = remote.scheme
    configuration = _configuration(remote, mirror)
    if remote.scheme == "ssh":
        environment["GIT_SSH_COMMAND"] = shlex.join(ssh_command(remote))
        environment["GIT_SSH_VARIANT"] = "ssh"
    if secret := remote.secret():
        environment["TOWLINE_GIT_USERNAME"] = remote.username or "git"
        environment["TOWLINE_GIT_PASSWORD"] = secret
        configuration[f"credential.{remote.origin}.helper"] = _ANSWER
    return environment | _as_variables(configuration)


def ssh_command(remote: Remote) -> list[str]:
    """The ssh program and its options: never asks, knows its hosts or refuses them."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "ConnectTimeout": str(CONNECT_TIMEOUT_S),
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "2",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "PermitLocalCommand": "no",
    }
    if remote.ssh_key is not None:
        options |= {"IdentityFile": _literal(remote.ssh_key), "IdentitiesOnly": "yes"}
    if remote.known_hosts is not None:
        options["UserKnownHostsFile"] = _literal(remote.known_hosts)
        options["GlobalKnownHostsFile"] = _NOTHING
    return ["ssh", "-F", "none", *(f"-o{name}={value}" for name, value in options.items())]


def _literal(path: Path) -> str:
    """A path as ssh's options take it: quoted, with no token in it."""
    return '"{}"'.format(str(path).replace("%", "%%"))


def _configuration(remote: Remote, mirror: Path) -> dict[str, str]:
    configuration = {
        "core.hooksPath": _NOTHING,
        "core.fsmonitor": "false",
        "safe.directory": str(mirror),
        # One pack per fetch, on the disk before anything names it: a power cut leaves no holes.
        "core.fsync": "all",
        "fetch.unpackLimit": "1",
        # What a force push leaves behind may still be in force.
        "gc.pruneExpire": "never",
        "gc.autoDetach": "false",
        # Another address might get the password.
        "http.followRedirects": "false",
        "http.proxy": remote.proxy,
    }
    if remote.ca_file is not None:
        configuration["http.sslCAInfo"] = str(remote.ca_file)
    return configuration


def _as_variables(configuration: Mapping[str, str]) -> dict[str, str]:
    variables = {"GIT_CONFIG_COUNT": str(len(configuration))}
    for number, (key, value) in enumerate(configuration.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables
