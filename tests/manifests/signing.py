"""Somebody with an SSH key who signs commits."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Signer:
    """A key pair."""

    key: Path

    @classmethod
    def make(cls, folder: Path, name: str) -> "Signer":
        """A fresh one."""
        key = folder / name
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)]
        subprocess.run(command, check=True)
        return cls(key)

    @property
    def public(self) -> str:
        """As a line of allowed signers has it."""
        kind, text, _ = self.key.with_suffix(".pub").read_text().split()
        return f"{kind} {text}"

    def options(self) -> list[str]:
        """What lets git sign with it."""
        return ["-c", "gpg.format=ssh", "-c", f"user.signingkey={self.key}"]

    def commit(self, fleet: Path, *, is_signed: bool = True, date: str = "") -> str:
        """Commit what lies there, at a time of one's own; returns the commit's id."""
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@acme.example"]
        how = ["-S"] if is_signed else ["--no-gpg-sign"]
        command = ["git", *who, *self.options(), "commit", "-q", "--allow-empty", *how]
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date} if date else {}
        subprocess.run(
            [*command, "-m", "a change"], cwd=fleet, check=True, env={**os.environ, **dates}
        )
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=fleet, check=True, capture_output=True, text=True
        )
        return head.stdout.strip()
