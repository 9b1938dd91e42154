"""Which files hold checks, which tests must miss each, and the checks that no `raise` ends.

Here those of documents, packages and the agent; those of the server and of git beside it.
"""

from tests.security.checked import Checked
from tests.security.checks_of_server import OF_GIT, OF_SERVER

DOCUMENTS = "security/test_documents.py"
PARSERS = "security/test_parsers.py"
ROOTS = "schemas/test_trust_oracles.py"
LIMITS = "schemas/test_limits.py"
BOUNDS = "security/test_bounds.py"
FIELDS = "schemas/test_fields.py"
DOWNLOADS = (
    "agent/test_wire.py",
    "agent/test_fetch_hostile.py",
    "agent/test_fetch.py",
    "agent/test_trust_on_disk.py",
)
ENROLLING = "agent/test_enrolment.py"
ON_DISK = "agent/test_trust_on_disk.py"

OF_AGENT = (
    Checked(
        "towline/schemas/verifier.py",
        (DOCUMENTS,),
        (
            ("max(trust.time_floor, clock.now if clock.is_synchronised else 0)", "clock.now"),
            (
                "max(trust.time_floor, clock.now if clock.is_synchronised else 0)",
                "trust.time_floor",
            ),
            ("max(trust.time_floor, document.issued_at)", "document.issued_at"),
            ("if self.online_keyids in ((), keyids):", "if True:"),
            ("sequence=document.sequence,", "sequence=trust.sequence,"),
        ),
    ),
    Checked(
        "towline/schemas/envelope.py",
        (PARSERS, DOCUMENTS, ROOTS),
        (
            ("if 1 <= threshold <= len(signed):", "if threshold <= len(signed):"),
            ("if 1 <= threshold <= len(signed):", "if 1 <= threshold:"),
            ("len(kind), kind, len(payload), payload)", "0, b'', len(payload), payload)"),
        ),
    ),
    Checked("towline/schemas/root.py", (ROOTS,)),
    Checked("towline/schemas/statement.py", (DOCUMENTS, BOUNDS)),
    Checked("towline/schemas/desired_state.py", (BOUNDS, LIMITS, DOCUMENTS, PARSERS)),
    Checked("towline/schemas/strict_json.py", (PARSERS, LIMITS)),
    Checked("towline/schemas/fields.py", (FIELDS, LIMITS)),
    Checked("towline/schemas/times.py", (DOCUMENTS,)),
    Checked("towline/schemas/reports.py", (BOUNDS, LIMITS)),
    Checked("towline/schemas/hosts.py", ("schemas/test_hosts.py",)),
    Checked("towline/schemas/enrolment.py", ("security/test_requests.py", PARSERS)),
    Checked("towline/agent/fetch.py", DOWNLOADS),
    Checked("towline/agent/transfer.py", DOWNLOADS),
    Checked("towline/agent/wire.py", DOWNLOADS),
    Checked("towline/agent/unpack.py", ("agent/test_unpack.py",)),
    Checked("towline/agent/tar_stream.py", ("agent/test_unpack.py",)),
    Checked(
        "towline/schemas/keys.py",
        ("schemas/test_keys.py", PARSERS, ROOTS),
        (
            ("if isinstance(key, Ed25519PublicKey):", "if True:"),
            ("isinstance(key.curve, ec.SECP256R1)", "True"),
            ("and len(text) == 64 else", "else"),
        ),
    ),
    Checked(
        "towline/schemas/identifiers.py",
        ("schemas/test_identifiers.py",),
        (("_ID.fullmatch(text)", "_ID.match(text)"),),
    ),
    Checked("towline/schemas/renewal.py", ("security/test_requests.py",)),
    Checked("towline/schemas/audit_chain.py", ("reconciler/test_audit_chain.py",)),
    Checked("towline/agent/identity.py", (ENROLLING,)),
    Checked("towline/agent/trust_store.py", (ENROLLING, ON_DISK)),
    Checked("towline/agent/server.py", ("agent/test_server.py", ENROLLING, ON_DISK)),
    Checked("towline/agent/loop.py", (ON_DISK,)),
)

CHECKED = (*OF_AGENT, *OF_SERVER, *OF_GIT)
