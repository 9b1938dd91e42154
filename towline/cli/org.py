"""`towline org`: the organizations that the server of this folder serves.

An organization is made on the server's own machine, by whoever may write its configuration: no
token of another organization reaches so far.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli import all_or_nothing, fleet_settings
from towline.cli import settings as single
from towline.cli.output import Column, Format, Kind, Output, show_list
from towline.cli.printing import give, tell
from towline.cli.settings import FILE_NAME, TABLE, Settings
from towline.manifests.remote import is_url
from towline.schemas.identifiers import is_id
from towline.schemas.problems import Place, Problem

ORGANIZATION = Kind(
    "Organization",
    "organization",
    (
        Column("ORGANIZATION", "organization"),
        Column("REPOSITORY", "repository"),
        Column("BRANCH", "branch"),
        Column("PATH", "path"),
        Column("ONLINE KEY", "onlineKey", is_wide=True),
    ),
)
_FIRST_ROOT = Path("trust/root/1.json")

app = typer.Typer(help="The organizations that are served.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="its id")],
    repository: Annotated[
        str, typer.Argument(metavar="DIR|URL", help="the fleet repository of that organization")
    ],
    path: Annotated[str | None, typer.Option(help="the fleet's folder in it")] = None,
    branch: Annotated[str | None, typer.Option(help="the branch to follow")] = None,
    online_key: Annotated[Path | None, typer.Option(help="signs its documents")] = None,
) -> None:
    """Serve one more organization: a `[[repository]]` in towline.toml binds it to its fleet."""
    if not is_id(name):
        raise Problem(
            f"organization {name!r} is no id: small letters, digits, dots, dashes and underscores,"
            " at most 63"
        )
    file = single.find(Path.cwd())
    if file is None:
        raise Problem(
            f"there is no {FILE_NAME} here or above",
            remedy="go to the folder that the server runs in",
        )
    where = _where(repository, path or "", name, file.parent)
    entry: dict[str, str | None] = {"organization": name, **where, "path": path, "branch": branch}
    if online_key is not None:
        entry["online_key"] = _as_written(online_key, file.parent)
    _add(file, name, {key: value for key, value in entry.items() if value is not None})
    data = single.load().data
    give(f"{name} is served from the next start of `towline serve` on")
    tell(f"its first admin token lies in {data / f'admin-{name}.token'} then")


def _where(repository: str, path: str, name: str, base: Path) -> dict[str, str]:
    """The key that says where the repository is; raises Problem for a folder without a root."""
    if is_url(repository):
        return {"url": repository}
    folder = Path(repository)
    if not (folder / path / _FIRST_ROOT).is_file():
        raise Problem(
            f"{folder / path} is no fleet repository: {_FIRST_ROOT} is missing",
            remedy=f"towline init {folder} --organization {name}",
        )
    return {"folder": _as_written(folder, base)}


def _as_written(path: Path, base: Path) -> str:
    """A path as the file says it: relative to it, where it was not given from the root."""
    return str(path) if path.is_absolute() else os.path.relpath(path.resolve(), base.resolve())


def _add(file: Path, name: str, entry: dict[str, str]) -> None:
    """Append the entry, unless the file would not be right with it; raises Problem."""
    text = single.read(file)
    here = single.load(file=file, environment={})
    if isinstance(single.parse(text, file).get(TABLE), dict | str):
        raise Problem(
            f"{TABLE} is of {here.organization} alone here",
            remedy=f'write it as [[{TABLE}]] with organization = "{here.organization}" first',
            place=Place(str(file)),
        )
    if name in {each.organization for each in _served(text, file, here)}:
        raise Problem(f"{name} is served already", place=Place(str(file)))
    lines = [f"[[{TABLE}]]", *(f"{key} = {_quoted(value)}" for key, value in entry.items())]
    longer = f"{text.rstrip()}\n\n" + "\n".join(lines) + "\n"
    fleet_settings.others_in(longer, file, here)
    all_or_nothing.replace(file, longer.encode(), file.stat().st_mode & 0o777)


def _quoted(text: str) -> str:
    """As TOML: a literal text has no escapes."""
    if "'" in text or not text.isprintable():
        raise Problem(f"{text!r} cannot be written here", remedy="choose a plainer name")
    return f'"{text}"' if "\\" not in text and '"' not in text else f"'{text}'"


@app.command("list")
def list_organizations(output: Output = Format.TABLE) -> None:
    """List the organizations that are served here, and where the fleet of each is."""
    file = single.find(Path.cwd())
    here = single.load()
    text = single.read(file) if file is not None else ""
    found = _served(text, file or Path(FILE_NAME), here)
    show_list(ORGANIZATION, map(_document, found), output)


def _served(text: str, file: Path, here: Settings) -> list[Settings]:
    others = fleet_settings.others_in(text, file.resolve(), here)
    return [*([here] if fleet_settings.has_own(here, others) else []), *others]


def _document(settings: Settings) -> dict[str, Any]:
    return {
        "organization": settings.organization,
        "repository": settings.repository_url or str(settings.repository),
        "branch": settings.branch,
        "path": settings.path,
        "onlineKey": str(settings.online_key),
    }
