"""The HTTP calls to the Towline server, as docs/device-protocol.md has them.

It keeps one connection open, opens sessions as they run out, and turns every answer into a value
or an error by what happens next: Unreachable (later again), Denied (a person must act).
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.agent.report_batch import encode
from towline.agent.wire import WIRE_ERRORS, Line, Unreachable, Watchdog, authority, split_https
from towline.schemas import strict_json, times
from towline.schemas.enrolment import EnrolmentRequest, SessionRequest
from towline.schemas.envelope import ENVELOPE_LIMIT_BYTES
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Refused
from towline.schemas.renewal import RenewalRequest
from towline.schemas.verifier import BUILT_AT

EXCHANGE_DEADLINE_S = 30.0
_TAG = re.compile(r'"[!#-~]{1,98}"')
_TOKEN = re.compile(r"[!-~]{1,1000}")
_RENEWAL = 0.8
"""Sessions are renewed at this share of their life."""
_LIFE_LIMIT_S = 86400
"""No session is taken to live longer, whatever the server says."""


SHUT_OUT = frozenset({"revoked", "duplicate-identity"})
"""The codes of who is served nothing until a person acts."""


class Denied(Exception):
    """The server knows what we want and will not have it; `code` is its kebab-case word."""

    def __init__(self, status: int, code: str, detail: str, document: Mapping[str, Any]) -> None:
        super().__init__(detail or code)
        self.status = status
        self.code = code
        self.document = document


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its whole body, at most 64 KiB."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def tag(self) -> str:
        """The entity tag; none where it could not be sent back as it came."""
        tag = self.headers.get("etag", "")
        return tag if _TAG.fullmatch(tag) else ""


@dataclass(frozen=True, slots=True)
class SessionClaims:
    """Who opens a session."""

    organization: str
    device: str
    key: PrivateKey
    boot_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """Up to which report the server has heard of this device, by its own word."""

    journal: str
    report_seq: int


class Server:
    """A Towline server at `https://host:port`, by its pin or by the system's authorities."""

    def __init__(
        self,
        address: str,
        organization: str,
        pin: str | None,
        deadline_s: float = EXCHANGE_DEADLINE_S,
        least_time: Callable[[], int] = lambda: BUILT_AT,
    ):
        """The server may serve others beside the `organization`; `least_time`: what time it is."""
        self.address = address
        self._organization = organization
        self.pin = pin
        self._host, self._port = authority(split_https(address))
        self._deadline_s = deadline_s
        self._least_time = least_time
        self._line: Line | None = None
        self._token = ""
        self._renew_at = 0.0
        self._clock_offset_s = 0
        self._is_aborted = False
        self.heard: Heard | None = None
        """As the last session told it; None once that was looked at."""

    def certificate(self) -> bytes:
        """The certificate in DER that the server shows; connects if need be."""
        self._call("GET", "/api/v1/ota/root/1")
        assert self._line is not None
        return self._line.certificate()

    def root(self, number: int) -> bytes | None:
        """The organization's signed root of that version; None when there is none yet."""
        answer = self._call("GET", f"/api/v1/ota/root/{number}?organization={self._organization}")
        if answer.status == 404:
            return None
        return self._good(answer, 200).body

    def enrol(
        self, request: EnrolmentRequest, key: PrivateKey, token: str | None
    ) -> dict[str, Any]:
        """`{"status": "accepted" | "pending", …}`; raises Denied."""
        headers = {"Authorization": f"Join {token}"} if token else {}
        body = request.sign(key).to_bytes()
        answer = self._call("POST", "/api/v1/ota/enroll", headers=headers, body=body)
        return strict_json.parse_object(self._good(answer, 201, 202).body)

    def renew(self, request: RenewalRequest, old: PrivateKey, new: PrivateKey) -> None:
        """The server knows the new key when this returns; raises Denied."""
        body = request.sign(old, new).to_bytes()
        self._good(self._call("POST", "/api/v1/ota/enroll", body=body), 201)

    def open_session(self, claims: SessionClaims, last_sequence: int) -> None:
        """Get a bearer token unless the one at hand still serves; raises Denied.

        A server that finds our clock wrong says its own time, and is asked once more with it.
        """
        if self._token and time.monotonic() < self._renew_at:
            return
        try:
            self._open_session(claims, last_sequence)
        except Denied as denied:
            if denied.code != "clock":
                raise
            self._clock_offset_s = times.from_rfc3339(denied.document.get("time")) - int(
                time.time()
            )
            self._open_session(claims, last_sequence)

    def _open_session(self, claims: SessionClaims, last_sequence: int) -> None:
        request = SessionRequest(
            organization=claims.organization,
            device=claims.device,
            keyid=claims.key.public.keyid,
            nonce=secrets.token_urlsafe(16),
            boot_id=claims.boot_id,
            issued_at=int(time.time()) + self._clock_offset_s,
            last_sequence=last_sequence,
        )
        body = request.sign(claims.key).to_bytes()
        answer = self._good(self._call("POST", "/api/v1/ota/session", body=body), 200)
        document = strict_json.parse_object(answer.body)
        token, life_s = document.get("token"), document.get("expiresIn")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise Unreachable("the session's token is none")
        if not isinstance(life_s, int):
            raise Unreachable("the session's answer is not understood")
        self._token = token
        journal, report_seq = document.get("journal"), document.get("reportSeq")
        if isinstance(journal, str) and isinstance(report_seq, int):
            self.heard = Heard(journal, report_seq)
        self._renew_at = time.monotonic() + min(life_s, _LIFE_LIMIT_S) * _RENEWAL

    def close_session(self) -> None:
        """Forget the token."""
        self._token = ""

    def desired_state(self, nonce: str, sequence: int, etag: str | None, wait_s: int) -> Answer:
        """200 with an envelope or 304; raises Denied `session` when a new session is needed."""
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Towline-Nonce": nonce,
            "Towline-Sequence": str(sequence),
        }
        if etag is not None:
            headers["If-None-Match"] = etag
        path = f"/api/v1/ota/desired-state?wait={wait_s}"
        return self._good(self._call("GET", path, headers=headers, wait_s=wait_s), 200, 304)

    def report(self, reports: Sequence[Mapping[str, Any]], receipt: str) -> str:
        """Send reports with the last receipt; they are committed when this returns the next."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if receipt:
            headers["Towline-Receipt"] = receipt
        body = encode(reports)
        answer = self._call("POST", "/api/v1/ota/reports", headers=headers, body=body)
        found = self._good(answer, 204).headers.get("towline-receipt", "")
        return found if _TOKEN.fullmatch(found) else ""

    def abort(self) -> None:
        """End an exchange under way, from a signal handler; none is begun any more."""
        self._is_aborted = True
        if self._line is not None:
            self._line.cut()

    def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        wait_s: int = 0,
    ) -> Answer:
        is_reused = self._line is not None
        try:
            return self._exchange(method, path, dict(headers or {}), body, wait_s)
        except WIRE_ERRORS as error:
            self.close()
            if not is_reused:
                raise Unreachable(f"{self.address}: {_words(error)}") from None
        except Refused:
            self.close()
            raise
        # A server may close an idle connection at any time: once more, on a new one.
        return self._call(method, path, headers=headers, body=body, wait_s=wait_s)

    def _exchange(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, wait_s: int
    ) -> Answer:
        if self._is_aborted:
            raise ConnectionAbortedError("the agent is stopping")
        line = self._line = self._line or Line(
            self._host, self._port, self.pin, least_time=self._least_time()
        )
        line.patience(self._deadline_s + wait_s)
        with Watchdog(line, self._deadline_s + wait_s) as watchdog:
            line.request(method, path, body=body, headers=headers)
            response = line.getresponse()
            data = response.read(ENVELOPE_LIMIT_BYTES + 1)
        if watchdog.verdict:  # a socket that was shut reads like the end of headers and body
            raise TimeoutError("the answer takes too long")
        if len(data) > ENVELOPE_LIMIT_BYTES:
            raise ValueError("the answer is longer than 64 KiB")
        if response.length not in (None, 0):
            raise ValueError("the answer is cut short")
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, data)

    def _good(self, answer: Answer, *statuses: int) -> Answer:
        """The answer if its status is expected; else Denied for 4xx and Unreachable for the rest.

        429 is a matter of time.
        """
        if answer.status in statuses:
            return answer
        if not 400 <= answer.status < 500 or answer.status == 429:
            raise Unreachable(f"{self.address} answers {answer.status}")
        try:
            problem = strict_json.parse_object(answer.body)
        except Refused:
            problem = {}
        code, detail = (str(problem.get(name) or "")[:500] for name in ("code", "detail"))
        if answer.status == 401 and code == "session":
            self.close_session()
        raise Denied(answer.status, code or str(answer.status), detail, problem)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
