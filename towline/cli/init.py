"""`towline init`: a fleet repository with throw-away keys, ready for `towline serve`.

Looks first and writes then: a folder that already is a fleet repository is left untouched, and so
is every file that is there. An existing git repository gets one commit of the new files.
"""

import re
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from towline.cli import fleet_files
from towline.cli.all_or_nothing import AllOrNothing
from towline.cli.printing import tell
from towline.cli.settings import FILE_NAME
from towline.cli.working_copy import WorkingCopy
from towline.schemas.identifiers import is_id
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Problem
from towline.schemas.root import Role, Root

ROOT_LIFE_S = 540 * 86400
_KEYS = Path(".towline/keys")
_ROOT = Path("trust/root/1.json")


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Made when missing.")] = Path(),
    organization: Annotated[
        str, typer.Option(help="An id; default: made of the folder's name.")
    ] = "",
) -> None:
    """Make a fleet repository with throw-away keys.

    towline init fleet && cd fleet && towline serve --lan
    """
    folder = folder.resolve()
    organization = organization or to_id(folder.name) or "fleet"
    _refuse(folder, organization)
    commit = make_fleet(folder, organization, now=int(time.time()))
    where = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    tell(f"made the fleet repository of {organization} in {folder} (commit {commit})")
    tell(f"\n  !! DEVELOPMENT KEYS: {_KEYS} was made just now, without a password, on this disk.")
    tell("  !! Whoever has these files can put any software on every device of this fleet.")
    tell("  !! Devices, pages and commands warn until `towline trust init` has made others.")
    tell("\nnext:")
    if where != Path():
        tell(f"  cd {shlex.quote(str(where))}")
    tell("  towline serve --lan                            # prints one line to paste on a device")
    tell("  towline publish ../FOLDER --version 1.0.0      # a folder with an install.sh")


def to_id(name: str) -> str:
    """The id nearest to a name, or an empty text: `My Fleet` -> `my-fleet`."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:63]


def make_fleet(folder: Path, organization: str, *, now: int) -> str:
    """Write everything and commit it, or nothing; returns the commit's short hash."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = WorkingCopy(folder)
    if not copy.is_there():
        copy.make("main")
    copy.git("config", "receive.denyCurrentBranch", "updateInstead")
    keys = {name: PrivateKey.generate() for name in ("root", "release", "online")}
    texts = _texts(folder, organization, copy.branch())
    texts[folder / _ROOT] = _first_root(keys, organization, now).decode()
    with AllOrNothing() as files:
        for name, key in keys.items():
            files.write(folder / _KEYS / f"{name}.pem", key.pem(), mode=0o600)
        (folder / _KEYS).chmod(0o700)
        for file, text in texts.items():
            files.write(file, text.encode())
        (folder / "packages").mkdir(exist_ok=True)
        return copy.commit(f"Make the fleet repository of {organization}", list(texts))


def _texts(folder: Path, organization: str, branch: str) -> dict[Path, str]:
    """What to write where: what is there stays, but for the lines that git must have."""
    names = {"organization": organization, "branch": branch}
    new = {
        FILE_NAME: fleet_files.TOML.format(**names),
        "README.md": fleet_files.README.format(**names),
        "deployments/example.yaml.txt": fleet_files.EXAMPLE,
        "releases/.gitkeep": "",
    }
    texts = {folder / name: text for name, text in new.items() if not (folder / name).exists()}
    for name, text in (
        (".gitattributes", fleet_files.ATTRIBUTES),
        (".gitignore", fleet_files.IGNORE),
    ):
        texts[folder / name] = _with_lines(folder / name, text)
    return texts


def _refuse(folder: Path, organization: str) -> None:
    if not is_id(organization):
        raise Problem(
            f"{organization!r} is no id: small letters, digits, dots, dashes and underscores",
            remedy=f"--organization {to_id(organization) or 'acme'}",
        )
    if folder.exists() and not folder.is_dir():
        raise Problem(f"{folder} is a file")
    for name in (FILE_NAME, str(_ROOT), str(_KEYS)):
        if (folder / name).exists():
            raise Problem(
                f"{folder} already is a fleet repository: it has {name}; nothing was changed",
                remedy="choose another folder, or use this one as it is: towline serve",
            )


def _first_root(keys: dict[str, PrivateKey], organization: str, now: int) -> bytes:
    root = Root(
        version=1,
        organization=organization,
        expires=now + ROOT_LIFE_S,
        root=Role((keys["root"].public,), 1),
        release=Role((keys["release"].public,), 1),
        online=Role((keys["online"].public,), 1),
        is_development=True,
    )
    return root.sign(keys["root"])


def _with_lines(file: Path, text: str) -> str:
    """What a file holds, and below it those lines of `text` that it lacks."""
    had = file.read_text(encoding="utf-8") if file.exists() else ""
    missing = [line for line in text.splitlines() if line not in had.splitlines()]
    start = had if not had or had.endswith("\n") else f"{had}\n"
    return start + "".join(f"{line}\n" for line in missing)
