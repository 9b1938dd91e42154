"""What signs: a key file, or a hardware token or key service by the URI of securesystemslib.

One kind of object with two makers. A private key in a file is read; one elsewhere stays there, and
its public key must be known: by a root that names it, or by a PEM file behind `#`.
"""

import os
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from towline.cli.all_or_nothing import AllOrNothing
from towline.cli.passphrases import passphrase_of
from towline.schemas.keys import KEY_TYPES, PrivateKey, PublicKey, Signer
from towline.schemas.problems import Place, Problem, Refused

_URI = re.compile(r"([a-z][a-z0-9]+):([^#]*)(?:#(.*))?")
FILE_SCHEME = "file"
PUBLIC_SUFFIX = ".pub"
_EXTRAS = {"file2": "crypto", "hv": "vault"}
"""What of securesystemslib a scheme needs, where it is not named after it."""


def load(key: str, known: Sequence[PublicKey] = ()) -> Signer:
    """What signs with `key`: a FILE, or a URI as `hsm:2#KEYID`; raises Problem.

    `known` are the public keys among which that of a URI is looked for.
    """
    uri = _uri(key)
    if uri is None:
        file = path_of(key)
        _refuse_public(file)
        return PrivateKey.load(file, lambda: passphrase_of(str(file)))
    scheme, rest, mark = uri
    return UriSigner(f"{scheme}:{rest}", _public_of(key, mark, known))


def is_uri(key: str) -> bool:
    """True when `key` is not a file but lies in a token or a key service."""
    return _uri(key) is not None


def is_private(key: str) -> bool:
    """True when `key` is a file of a private key, which may be missing yet."""
    return not is_uri(key) and not _is_public(path_of(key))


def public_key(key: str) -> PublicKey:
    """The public key that `key` names: a FILE, public or private, or a URI with `#FILE`."""
    uri = _uri(key)
    file = Path(uri[2]) if uri and uri[2] else path_of(key)
    if uri and not uri[2]:
        raise Problem(
            f"{key} says nothing of its public key", remedy=f"write {key}#FILE, its public PEM"
        )
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Problem(f"the key {file} cannot be read: {error.strerror}") from None
    if b"-----BEGIN PUBLIC KEY-----" in data:
        return _from_pem(data, file)
    beside = file.with_name(file.name + PUBLIC_SUFFIX)
    if beside.is_file():
        return _from_pem(beside.read_bytes(), beside)
    return load(key).public


def make(files: AllOrNothing, file: Path, passphrase: bytes | None) -> PrivateKey:
    """A new key in `file`, mode 0600, and its public key beside it; raises Problem if it is there.

    Both go away again when the block of `files` fails.
    """
    beside = file.with_name(file.name + PUBLIC_SUFFIX)
    for each in (file, beside):
        if each.exists():
            raise Problem(f"{each} is there already; a key is never overwritten")
    key = PrivateKey.generate()
    files.write(file, key.pem(passphrase), mode=0o600)
    files.write(beside, key.public.pem())
    return key


class UriSigner:
    """Signs by a signer of securesystemslib, and believes only what its public key verifies."""

    def __init__(self, uri: str, public: PublicKey) -> None:
        self.uri = uri
        self._public = public
        self._signer = _of_securesystemslib(uri, public)

    @property
    def public(self) -> PublicKey:
        """The key that the signatures are of."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """The signature over a message; raises Problem with the service's own words."""
        try:
            signature = bytes.fromhex(self._signer.sign(message).signature)
        except Exception as error:  # noqa: BLE001 each service has errors of its own
            raise _not_signed(self.uri, error) from None
        if not self._public.is_signed(signature, message):
            raise Problem(
                f"{self.uri} signs with another key than {self._public.keyid[:12]}",
                remedy="name the token's own key behind #, or another token",
            )
        return signature


def _of_securesystemslib(uri: str, public: PublicKey) -> Any:
    try:
        library = import_module("securesystemslib.signer")
    except ModuleNotFoundError:
        raise Problem(
            f"{uri} needs securesystemslib, which is not installed",
            remedy="pip install 'towline[server,signers]'",
        ) from None
    words = public.document()
    key = library.SSlibKey(public.keyid, words["keytype"], words["scheme"], words["keyval"])
    try:
        return library.Signer.from_priv_key_uri(uri, key, lambda _: passphrase_of(uri).decode())
    except Exception as error:  # noqa: BLE001 each service has errors of its own
        raise _not_signed(uri, error) from None


def _not_signed(uri: str, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    remedy = ""
    if type(error).__name__ == "UnsupportedLibraryError":
        scheme = uri.split(":", 1)[0]
        remedy = f"pip install 'securesystemslib[{_EXTRAS.get(scheme, scheme)}]'"
    return Problem(f"{uri} cannot sign: {str(error) or type(error).__name__}", remedy=remedy)


def _uri(key: str) -> tuple[str, str, str] | None:
    """Scheme, rest and what stands behind `#`; None for a file."""
    found = _URI.fullmatch(key)
    if found is None or found[1] == FILE_SCHEME or Path(key).exists():
        return None
    return found[1], found[2], found[3] or ""


def path_of(key: str) -> Path:
    """The file of a key that is one."""
    return Path(key.removeprefix(f"{FILE_SCHEME}:")).expanduser()


def _public_of(key: str, mark: str, known: Iterable[PublicKey]) -> PublicKey:
    if os.sep in mark or Path(mark).is_file():
        return public_key(mark)
    fitting = [each for each in known if each.keyid.startswith(mark)]
    if len(fitting) == 1:
        return fitting[0]
    ids = ", ".join(each.keyid[:12] for each in known) or "none"
    raise Problem(
        f"{key} may be any of the keys {ids}",
        remedy=f"write {key.split('#', 1)[0]}#KEYID, or #FILE, its public key in PEM form",
    )


def _from_pem(data: bytes, file: Path) -> PublicKey:
    try:
        return PublicKey.from_pem(data)
    except Refused:
        raise Problem(
            f"this is no public key of {' or '.join(KEY_TYPES)}", place=Place(str(file))
        ) from None


def _refuse_public(file: Path) -> None:
    if _is_public(file):
        raise Problem(
            f"{file} is a public key, and signs nothing",
            remedy=f"name the private one, as {file.name.removesuffix(PUBLIC_SUFFIX)}",
        )


def _is_public(file: Path) -> bool:
    return file.is_file() and b"-----BEGIN PUBLIC KEY-----" in file.read_bytes()
