"""A fleet repository with keys for production and one published package, made once and copied."""

import os
import shutil
import subprocess
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from towline.cli import main
from towline.cli.roots import newest_root
from towline.schemas.root import Root

PASSPHRASE = "five words taken at random"


@dataclass(frozen=True)
class Production:
    """`fleet` beside `keys`, each of the offline ones without a passphrase."""

    base: Path

    @property
    def fleet(self) -> Path:
        return self.base / "fleet"

    @property
    def keys(self) -> Path:
        return self.base / "keys"

    @property
    def newest(self) -> Root:
        return newest_root(self.fleet, "acme")

    @property
    def statement(self) -> Path:
        return self.fleet / "releases/hello/1.0.0/hello-1.0.0.tar.gz.json"

    def key(self, name: str) -> str:
        return str(self.keys / f"{name}.pem")

    def run(self, *arguments: str) -> int:
        """A command, in the repository."""
        with chdir(self.fleet):
            return main.run(arguments)

    def sign(self, *names: str) -> int:
        """`trust sign` by these of the keys."""
        return self.run(
            "trust", "sign", *(part for name in names for part in ("--key", self.key(name)))
        )

    def copy(self, base: Path) -> "Production":
        """The same elsewhere."""
        shutil.copytree(self.base, base / "production")
        return Production(base / "production")

    def git(self, *arguments: str) -> str:
        """What a git command prints."""
        done = subprocess.run(
            ["git", "-C", str(self.fleet), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()


def make(base: Path) -> Production:
    """The way of docs/trust.md, without passphrases."""
    made = Production(base)
    package = base / "hello"
    package.mkdir()
    (package / "install.sh").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    environment = dict(os.environ)
    try:
        os.environ["TOWLINE_RELEASE_KEY"] = made.key("release")
        assert main.run(["init", str(made.fleet), "--organization", "acme"]) == 0
        init = ("trust", "init", "--keys", str(made.keys), "--afresh", "--no-passphrase")
        assert made.run(*init) == 0
        assert made.sign("root-1", "root-2") == 0
        assert made.run("trust", "publish") == 0
        assert made.run("publish", "../hello", "--version", "1.0.0") == 0
    finally:
        os.environ.clear()
        os.environ.update(environment)
    return made
