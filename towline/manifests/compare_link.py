"""Where people look at a branch and merge it: a page of the forge, else a git command. Pure."""

import re
import shlex
from urllib.parse import quote, urlsplit

_SCP = re.compile(r"[\w.-]+@(?P<host>[\w.-]+):(?P<path>.+)", re.ASCII)
_GITEA = ("gitea", "forgejo", "codeberg")


def compare_link(source: str, base: str, branch: str) -> str:
    """The forge's page that compares `branch` with `base`, or the command that shows the same.

    `source` is a URL without secrets, or the folder of a repository on this machine.
    """
    host, path = _host_and_path(source)
    page = f"https://{host}/{quote(path)}"
    between = f"{quote(base)}...{quote(branch)}"
    if host == "github.com" or host.startswith("github."):
        return f"{page}/compare/{between}?expand=1"
    if "gitlab" in host:
        return f"{page}/-/compare/{between}"
    if any(name in host for name in _GITEA):
        return f"{page}/compare/{between}"
    if "://" in source or _SCP.fullmatch(source):
        fetch = shlex.join(["git", "fetch", source, branch])
        return f"{fetch} && git diff {base}...FETCH_HEAD"
    return shlex.join(["git", "-C", source, "diff", f"{base}...{branch}"])


def _host_and_path(source: str) -> tuple[str, str]:
    """Without port, user and `.git`; empty for what no forge serves."""
    if short := _SCP.fullmatch(source):
        host, path = short["host"], short["path"]
    elif source.startswith(("https://", "ssh://")):
        parts = urlsplit(source)
        host, path = parts.hostname or "", parts.path
        if parts.scheme == "https" and parts.port:
            host = f"{host}:{parts.port}"
    else:
        return "", ""
    return host.lower(), path.strip("/").removesuffix(".git")
