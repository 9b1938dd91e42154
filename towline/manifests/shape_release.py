"""The shapes of what is delivered: packages, installation, health, going back, experiments."""

# ruff: noqa: RUF012 - pydantic copies the default of a field for every value

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from towline.manifests.errors import Location
from towline.manifests.shape_base import Built, NotYet, Shape, Words, wrong
from towline.manifests.shape_filters import Labels
from towline.manifests.shape_words import (
    Address,
    Checksum,
    DeviceTypeName,
    Duration,
    HttpPath,
    InnerPath,
    Line,
    Name,
    Port,
    Timeout,
    Version,
    VersionRange,
    duration_text,
)

_FORMATS = ("script", "tree", "file", "swu", "raucb")


def _format(value: Any) -> str:
    if isinstance(value, str) and (value in _FORMATS or value.startswith("module:")):
        return value
    raise wrong(f"{value} is no format of a package", "write format: script, or leave it out")


class DeltaShape(Shape):
    """A smaller download for devices that have a certain version."""

    from_: VersionRange = Field(alias="from")
    url: Address
    checksum: Checksum


class PackageShape(Shape):
    """One file to download, from the first address that has it."""

    url: Address | None = None
    urls: Annotated[list[Address], Field(min_length=1)] | None = None
    checksum: Checksum
    format: Annotated[
        str,
        Words(_format, {"type": "string", "pattern": "^(script|tree|file|swu|raucb|module:.+)$"}),
        Built(("script",)),
    ] = "script"
    device_types: list[DeviceTypeName] = []
    labels: Labels = {}
    deltas: Annotated[list[DeltaShape], NotYet([])] = []

    @model_validator(mode="after")
    def _has_one_kind_of_address(self) -> Self:
        if self.url and self.urls:
            raise wrong("`url` and `urls` both stand here", "keep one of the two", ("urls",))
        if not self.url and not self.urls:
            raise wrong("the package has no address", "add url: https://… or a file name")
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        """Short form expanded."""
        return (self.url,) if self.url else tuple(self.urls or ())


class InstallShape(Shape):
    """How install.sh is run."""

    timeout: Timeout = 600
    reboot: Annotated[Literal["never", "if-needed", "always"], Built(("never",))] = "never"


class HooksShape(Shape):
    """Scripts inside the package around the installation."""

    before: InnerPath | None = None
    after: InnerPath | None = None


class HttpProbe(Shape):
    """Asked on loopback by the agent."""

    port: Port
    path: HttpPath = "/"
    status: Annotated[int, Field(ge=100, le=599)] = 200


class TcpProbe(Shape):
    """A port that accepts a connection."""

    port: Port


class SystemdProbe(Shape):
    """A unit that is active."""

    unit: Line


_PROBES = ("http", "tcp", "systemd", "script")


class HealthShape(Shape):
    """One check after the installation."""

    name: Name
    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    systemd: Annotated[SystemdProbe | None, NotYet()] = None
    script: InnerPath | None = None
    delay: Duration = 0
    period: Timeout = 5
    successes: Annotated[int, Field(ge=1, le=1000)] = 1
    timeout: Timeout = 60

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        asked = [probe for probe in _PROBES if getattr(self, probe) is not None]
        if len(asked) != 1:
            found = " and ".join(f"`{probe}`" for probe in asked) or "nothing"
            at: Location = tuple(asked[1:2])
            raise wrong(
                f"a check asks one thing, this one asks {found}",
                "give each check one of http, tcp, script",
                at,
            )
        return self

    @model_validator(mode="after")
    def _can_pass(self) -> Self:
        least = (self.successes - 1) * self.period
        if least >= self.timeout:
            message = f"{self.successes} successes take at least {duration_text(least)}"
            remedy = f"write a timeout above {duration_text(least)}, or fewer successes"
            raise wrong(f"{message}, and timeout is {duration_text(self.timeout)}", remedy)
        return self


def unique_names(checks: list[HealthShape]) -> list[HealthShape]:
    names = [check.name for check in checks]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise wrong(
                f"two checks have the name {name}", "give each a name of its own", (at, "name")
            )
    return checks


class RollbackShape(Shape):
    """What a device does by itself when a check fails."""

    automatic: bool = True


class ArmShape(Shape):
    """One side of an experiment; what it does not say is that of the Deployment."""

    name: Name
    weight: Annotated[int, Field(ge=1, le=99)]
    target_version: Version | None = None
    package: PackageShape | None = None


def _add_up(arms: list[ArmShape]) -> list[ArmShape]:
    """Weights are percent, and each arm has a name of its own."""
    names = [arm.name for arm in arms]
    for at, name in enumerate(names):
        if name in names[:at]:
            remedy = "give each a name of its own"
            raise wrong(f"two arms have the name {name}", remedy, (at, "name"))
    total = sum(arm.weight for arm in arms)
    if total != 100:
        raise wrong(f"the weights of the arms sum to {total}", "make them sum to 100")
    return arms


class ExperimentShape(Shape):
    """Releases side by side."""

    arms: Annotated[list[ArmShape], Field(min_length=2, max_length=10), AfterValidator(_add_up)]
