"""What git and ssh say when a fetch fails, in words for the person who must act.

The words depend on the cause alone, so that one outage is one problem however it is met.
"""

import re
from collections.abc import Callable

from towline.manifests.git_problems import Damaged
from towline.manifests.remote import Remote
from towline.schemas.problems import Problem

_PASSWORD_IN_URL = re.compile(r"(\w://)[^/\s@]*@")

_Rule = tuple[str, Callable[[Remote], tuple[str, str]]]


def no_branch(remote: Remote, branch: str, listed: list[str]) -> tuple[str, str]:
    """What and remedy for a branch that is not there."""
    there = ", ".join(listed[:10]) or "none"
    return (
        f"the repository {remote.url} has no branch {branch}",
        f"push it, or name another with --branch; there are: {there}",
    )


def fetch_problem(said: str, remote: Remote) -> Problem:
    """The Problem behind what a failed fetch wrote to its standard error.

    Damaged where nothing says that the other side or a setting is at fault.
    """
    # A name such as proxy.example.com says nothing about the cause.
    causes = said.replace(remote.url, "").replace(remote.host or remote.url, "")
    for pattern, words in _RULES:
        if re.search(pattern, causes, re.IGNORECASE):
            what, remedy = words(remote)
            return Problem(what, remedy=remedy)
    return Damaged(
        f"git cannot fetch from {remote.url}: {_gist(said)}",
        remedy=f"try `git ls-remote {remote.url}` on the server's machine",
    )


def timed_out(remote: Remote, seconds: int) -> Problem:
    """A fetch that did not end."""
    return Problem(
        f"the repository {remote.url} did not answer within {seconds} seconds",
        remedy="check the network, or give it longer with repository.timeout",
    )


def _certificate(remote: Remote) -> tuple[str, str]:
    return (
        f"the certificate of {remote.host} is not trusted",
        "name the CA that signed it with repository.ca_file"
        if remote.ca_file is None
        else f"{remote.ca_file} does not vouch for it: name the CA that does",
    )


def _ca_file(remote: Remote) -> tuple[str, str]:
    return f"{remote.ca_file} cannot be read as certificates", "check repository.ca_file"


def _host_key(remote: Remote) -> tuple[str, str]:
    return (
        f"the key of the ssh host {remote.host} is unknown, or another one than before",
        f"compare what `ssh-keyscan {remote.host}` says with its owner, and put it into a file"
        " named by repository.known_hosts",
    )


def _open_key(remote: Remote) -> tuple[str, str]:
    return (
        f"ssh refuses {remote.ssh_key or 'its key'}, because others can read it",
        f"chmod 600 {remote.ssh_key or 'KEY'}",
    )


def _not_authorised(remote: Remote) -> tuple[str, str]:
    what = f"not authorised to read {remote.url}"
    if remote.scheme == "ssh":
        return what, "name a key without a passphrase that may read it with repository.ssh_key"
    if remote.password or remote.password_file:
        return what, "renew the token, or correct repository.username"
    return what, "set repository.username and repository.password_file"


def _proxy(_: Remote) -> tuple[str, str]:
    return "the proxy does not let the fetch through", "check repository.proxy"


def _moved(remote: Remote) -> tuple[str, str]:
    return f"{remote.url} has moved", "set repository.url to its new URL"


def _unreachable(remote: Remote) -> tuple[str, str]:
    return (
        f"cannot reach {remote.host}",
        "check repository.url, the network and, where there must be one, repository.proxy",
    )


def _missing(remote: Remote) -> tuple[str, str]:
    hidden = ", or it may not be seen with these credentials" if remote.host else ""
    return f"there is no repository at {remote.url}{hidden}", "check repository.url"


def _not_owner(remote: Remote) -> tuple[str, str]:
    return (
        f"git refuses {remote.url}, because another user owns it",
        "give it to the server's user, or fetch it by ssh",
    )


_RULES: tuple[_Rule, ...] = (
    (r"problem with the ssl ca cert|error reading ca cert|certificate verify locations", _ca_file),
    (r"certificate problem|certificate verification failed|peer certificate", _certificate),
    (r"host key verification failed|host key is known for", _host_key),
    (r"unprotected private key", _open_key),
    (r"proxy", _proxy),
    (
        r"could not read (username|password)|authentication failed|permission denied"
        r"|returned error: 40[13]|access denied",
        _not_authorised,
    ),
    (r"returned error: 30\d|unable to update url base", _moved),
    (r"dubious ownership", _not_owner),
    (r"repository '.*' not found|not appear to be a git repo|returned error: 404", _missing),
    (
        r"could not resolve|failed to connect|couldn't connect|connection (refused|timed out|reset)"
        r"|connect to host|unreachable|no route|connection closed|operation timed out",
        _unreachable,
    ),
)
"""The first that fits; one failure often is told in several lines."""


def _gist(said: str) -> str:
    """The line that tells most, without what a URL may hide and what a terminal obeys."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
    gist = (telling or lines or ["no message"])[0]
    shown = "".join(letter for letter in gist if letter.isprintable())
    return _PASSWORD_IN_URL.sub(r"\1", shown)[:300]
