"""Whether a commit carries the SSH signature of somebody who may sign: `ssh-keygen` says it.

The file of those who may is the server's own, never one of the repository. The signature is looked
at as of now: git itself takes the date that the commit gives, so that whoever stole a key that has
expired would only have to set the date back.
"""

import subprocess
import tempfile
from pathlib import Path

from towline.schemas.problems import Problem

_HEADERS = (b"gpgsig ", b"gpgsig-sha256 ")
_SSH = b"-----BEGIN SSH SIGNATURE-----"
_NAMESPACE = "git"
_TIMEOUT_S = 20


def why_refused(commit: bytes, allowed_signers: Path) -> str:
    """Why the commit, as git keeps it, does not count as signed; empty when it does.

    Raises Problem when that cannot be found out.
    """
    signed, signature = _apart(commit)
    if not signature:
        return "it is not signed"
    if not signature.startswith(_SSH):
        return "it is signed by a key of another kind than ssh"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "signature"
        file.write_bytes(signature)
        signers = ("-s", str(file), "-f", str(readable(allowed_signers)))
        found = _keygen("find-principals", *signers)
        for principal in found.stdout.decode("utf-8", "replace").splitlines():
            of = ("-I", principal, "-n", _NAMESPACE)
            if _keygen("verify", *signers, *of, given=signed).returncode == 0:
                return ""
    return "it is signed by none of those who may"


def _apart(commit: bytes) -> tuple[bytes, bytes]:
    """What was signed, and the signature; git's header of it continues on lines with a space."""
    head, blank, message = commit.partition(b"\n\n")
    kept: list[bytes] = []
    signature: list[bytes] = []
    is_inside = False
    for line in head.split(b"\n"):
        if is_inside and line.startswith(b" "):
            signature.append(line[1:])
            continue
        name = next((each for each in _HEADERS if line.startswith(each)), b"")
        is_inside = bool(name)
        if name:
            signature.append(line.removeprefix(name))
        else:
            kept.append(line)
    text = b"\n".join(signature)
    return b"\n".join(kept) + blank + message, text + b"\n" if text else b""


def readable(allowed_signers: Path) -> Path:
    """The file; raises Problem, for without it ssh-keygen would say only that nobody may."""
    try:
        allowed_signers.read_bytes()
    except OSError as error:
        raise Problem(
            f"{allowed_signers}, which says who may sign commits, cannot be read: {error.strerror}",
            remedy="name the file with allowed_signers: one line `NAME KEY` for each who may",
        ) from None
    return allowed_signers


def _keygen(act: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ("ssh-keygen", "-Y", act, *arguments)
    try:
        return subprocess.run(
            command, input=given, capture_output=True, check=False, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(
            f"ssh-keygen, which looks at signatures of commits, failed: {error}",
            remedy="install OpenSSH, 8.9 or newer, or take allowed_signers out of the settings",
        ) from None
