"""What a swarm is made of, as the command says it and every process of the swarm is told it."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from towline.reconciler.failure_model import FailureModel
from towline.schemas.enrolment import JoinString
from towline.swarm.line import Address


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """What a swarm is made of."""

    devices: int
    join: JoinString
    ca: Path | None
    """What vouches for the server where the join string pins no certificate."""
    device_type: str
    model: FailureModel
    seed: int
    processes: int
    ack_log: Path | None
    ends_after_s: float | None
    prefix: str
    """Of the devices' ids."""

    @property
    def address(self) -> Address:
        """Where the devices go."""
        return Address(self.join.server, self.join.certificate, self.ca)


def new_prefix() -> str:
    """Another one for each swarm: an id belongs to the key that it was enrolled with."""
    return f"swarm-{secrets.token_hex(2)}"
