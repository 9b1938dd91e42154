"""The server's own certificate: made at its first start, pinned by the join string.

ECDSA on P-256, because browsers know no Ed25519 certificates. With one's own certificate from a
public CA nothing here is used but the fingerprint.
"""

import datetime
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from towline.schemas.problems import Problem

LIFE_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where the certificate and its key lie, both PEM."""

    certificate: Path
    key: Path

    def fingerprint(self) -> str:
        """`sha256:<hex>` of the certificate in DER; raises Problem when it cannot be read."""
        try:
            loaded = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        except (OSError, ValueError):
            raise Problem(f"{self.certificate} is no certificate in PEM form") from None
        return f"sha256:{loaded.fingerprint(hashes.SHA256()).hex()}"


def given_or_own(
    certificate: Path | None, key: Path | None, data: Path, addresses: list[str]
) -> Certificate:
    """The operator's, or the one that is kept in the data folder; raises Problem for a half."""
    if certificate is None and key is None:
        return ensure(data, addresses)
    if certificate is None or key is None:
        raise Problem("tls_cert and tls_key belong together", remedy="give both or none")
    return Certificate(certificate, key)


def ensure(folder: Path, addresses: list[str]) -> Certificate:
    """The certificate in `folder`, made for this machine's names when there is none yet."""
    made = Certificate(folder / "tls.crt", folder / "tls.key")
    if not (made.certificate.exists() and made.key.exists()):
        _make(made, addresses)
    return made


def names(certificate: Path) -> frozenset[str]:
    """The hosts and addresses that it is for; raises Problem when it cannot be read."""
    alternative = x509.SubjectAlternativeName
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        found = loaded.extensions.get_extension_for_class(alternative).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        raise Problem(f"{certificate} is no certificate of a server in PEM form") from None
    hosts = (name.lower() for name in found.get_values_for_type(x509.DNSName))
    return frozenset([*hosts, *map(str, found.get_values_for_type(x509.IPAddress))])


def lan_addresses() -> list[str]:
    """The addresses under which other machines reach this one, the default route's first."""
    found: list[str] = []
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as route:
            try:
                # A datagram socket that connects sends nothing; it only asks for the route.
                route.connect((probe, 9))
            except OSError:
                continue
            found.append(route.getsockname()[0])
    try:
        infos = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        infos = []
    found += [str(info[4][0]).partition("%")[0] for info in infos]
    return [address for address in dict.fromkeys(found) if not _is_loopback(address)]


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _names(addresses: list[str]) -> x509.SubjectAlternativeName:
    names = dict.fromkeys(["localhost", socket.gethostname()])
    numbers = dict.fromkeys(["127.0.0.1", "::1", *addresses])
    return x509.SubjectAlternativeName(
        [
            *(x509.DNSName(name) for name in names),
            *(x509.IPAddress(ipaddress.ip_address(number)) for number in numbers),
        ]
    )


def _make(wanted: Certificate, addresses: list[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "towline")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=LIFE_DAYS))
        .add_extension(_names(addresses), critical=False)
        # It is its own CA: clients trust exactly this one, and some insist on the flag.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(wanted.key, pem)
    wanted.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
