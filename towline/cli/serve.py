"""`towline serve`: the settings of the fleet repository, overlaid by flags, in a running server."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli.fleet_settings import has_own, load_others
from towline.cli.passphrases import passphrase_of
from towline.cli.printing import tell
from towline.cli.settings import Settings, load, load_fleet
from towline.manifests.remote import checked_url, is_url
from towline.schemas.problems import Problem


class ServeRole(StrEnum):
    """`--role` of `serve`."""

    ALL = "all"
    API = "api"
    RECONCILER = "reconciler"


def serve(
    lan: Annotated[bool, typer.Option("--lan", help="all interfaces; prints a join line")] = False,
    repo: Annotated[
        str | None, typer.Option(metavar="DIR|URL", help="the fleet repository")
    ] = None,
    path: Annotated[str | None, typer.Option(help="the fleet's folder in it")] = None,
    branch: Annotated[str | None, typer.Option(help="the branch to follow")] = None,
    data: Annotated[Path | None, typer.Option(help="where the server keeps its data")] = None,
    listen: Annotated[str | None, typer.Option(help="ADDRESS:PORT")] = None,
    online_key: Annotated[Path | None, typer.Option(help="signs documents")] = None,
    packages: Annotated[Path | None, typer.Option(help="served as /packages/")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="a certificate of one's own")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="its key")] = None,
    role: Annotated[
        ServeRole, typer.Option(help="what this one of several processes on a Postgres does")
    ] = ServeRole.ALL,
    accept_clock: Annotated[
        bool, typer.Option("--accept-clock", help="the clock is right, though the store has later")
    ] = False,
) -> None:
    """Serve a fleet; in a fleet repository no flag is needed."""
    flags: dict[str, Any] = {
        "path": path,
        "branch": branch,
        "data": data,
        "listen": listen,
        "online_key": online_key,
        "packages": packages,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
    }
    given: dict[str, Any] = {
        key: value.resolve() if isinstance(value, Path) else value
        for key, value in flags.items()
        if value is not None
    }
    first, *others = _fleets(repo, given)
    _serve(first, others, is_lan=lan, role=role, is_clock_accepted=accept_clock)


def _fleets(repo: str | None, given: dict[str, Any]) -> list[Settings]:
    """The fleets to serve; flags are of the one that towline.toml itself describes.

    That is the first one, unless its organization has a `[[repository]]` or there is none.
    """
    is_elsewhere = repo is not None and is_url(repo)
    start = Path(repo) if repo is not None and not is_elsewhere else None
    here = load(start)
    others = load_others(replace(here, **given), start)
    if others and repo is None and not has_own(here, others):
        return list(others)
    return [replace(_own(here, repo, start), **given), *others]


def _own(here: Settings, repo: str | None, start: Path | None) -> Settings:
    """What holds in the folder `repo`, or here when it is a URL or a URL is configured."""
    settings = here
    if repo is not None and start is None:
        settings = replace(here, repository_url=checked_url(repo))
    if settings.repository_url is None:
        return load_fleet(start)
    if settings.organization is None:
        raise Problem(
            "nothing says whose fleet this is",
            remedy="set organization in towline.toml or TOWLINE_ORGANIZATION",
        )
    return settings


def _serve(
    settings: Settings,
    others: Sequence[Settings],
    *,
    is_lan: bool,
    role: ServeRole,
    is_clock_accepted: bool,
) -> None:
    from towline.reconciler.server import serve as server  # noqa: PLC0415 heavy
    from towline.reconciler.server.device_rates import RateLimits  # noqa: PLC0415
    from towline.reconciler.server.founding import FleetSettings  # noqa: PLC0415 heavy

    host, port = _address(settings.listen)
    assert settings.organization is not None
    server.serve(
        server.ServeSettings(
            organization=settings.organization,
            repository=settings.remote or settings.repository,
            path=settings.path,
            branch=settings.branch,
            allowed_signers=settings.allowed_signers,
            data=settings.data,
            host=host,
            port=port,
            is_lan=is_lan,
            online_key=settings.online_key,
            passphrase=_passphrase,
            packages=settings.packages,
            poll_interval_s=settings.poll_interval,
            git_interval_s=settings.git_interval,
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
            rate_limits=RateLimits(settings.device_calls, settings.refused_calls),
            trusted_proxies=settings.proxies,
            oidc=settings.oidc,
            store=settings.store,
            role=server.ProcessRole(role),
            is_clock_accepted=is_clock_accepted,
            others=tuple(
                FleetSettings(
                    organization=str(other.organization),
                    repository=other.remote or other.repository,
                    path=other.path,
                    branch=other.branch,
                    online_key=other.online_key,
                    allowed_signers=other.allowed_signers,
                    passphrase=_passphrase,
                )
                for other in others
            ),
        ),
        announce=lambda lines: tell("\n".join(lines)),
    )


def _passphrase(file: Path) -> bytes:
    return passphrase_of(str(file))


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise Problem(f"{listen} is no address", remedy="write ADDRESS:PORT, as 127.0.0.1:8443")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 as asked
