"""How the passphrase of a key file comes in: by a file, by the environment, or typed.

Never by an option: other users of the machine see the arguments of every process.
"""

import getpass
import os
import sys
from pathlib import Path

from towline.schemas.problems import Place, Problem

VARIABLE = "TOWLINE_KEY_PASSPHRASE"
FILE_VARIABLE = "TOWLINE_KEY_PASSPHRASE_FILE"
LEAST_CHARACTERS = 12
_WAYS = f"set {FILE_VARIABLE} to a file that holds it, or {VARIABLE}, or run this on a terminal"


def passphrase_of(key: str) -> bytes:
    """Of a key that is there; raises Problem when nobody can be asked."""
    return _given() or _typed(f"passphrase of {key}: ", key)


def new_passphrase(keys: str) -> bytes:
    """For keys that are made now, typed twice; raises Problem when it is too short."""
    found = _given()
    if not found:
        found = _typed(f"new passphrase for {keys}: ", keys)
        if _typed("the same again: ", keys) != found:
            raise Problem("the two are not the same; nothing was made")
    if len(found.decode(errors="replace")) < LEAST_CHARACTERS:
        raise Problem(
            f"the passphrase has less than {LEAST_CHARACTERS} characters; nothing was made",
            remedy="take five or more words at random; whoever gets the file can try for years",
        )
    return found


def _given() -> bytes:
    if name := os.environ.get(FILE_VARIABLE):
        try:
            found = Path(name).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise Problem(
                f"{name} cannot be read: {error.strerror}", place=Place(FILE_VARIABLE)
            ) from None
        if not found:
            raise Problem(f"{name} is empty", place=Place(FILE_VARIABLE))
        return found
    return os.environ.get(VARIABLE, "").encode()


def _typed(prompt: str, key: str) -> bytes:
    if not sys.stdin.isatty():
        raise Problem(f"{key} needs a passphrase, and there is no terminal to ask at", remedy=_WAYS)
    return getpass.getpass(prompt, stream=sys.stderr).encode()
