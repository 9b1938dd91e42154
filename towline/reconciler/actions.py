"""What the reconciler may do: frozen values, performed by `apply` in one transaction."""

from dataclasses import dataclass

from towline.manifests.model import BatchPlan
from towline.schemas.states import BatchState, RunState


@dataclass(frozen=True, slots=True)
class BeginRun:
    """Begin the next run of the revision that git wants."""

    turn: int
    is_return: bool
    is_retry: bool = False


@dataclass(frozen=True, slots=True)
class EndRun:
    """The run is over; what is not yet installing is skipped with `reason`."""

    status: RunState
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class LetGo:
    """Git wants a run no longer that had ended before: the period is over, and may come again."""


@dataclass(frozen=True, slots=True)
class StartRun:
    """A pending run begins to roll out."""


@dataclass(frozen=True, slots=True)
class AddHold:
    """A human must act."""

    reason: str
    message: str
    withdraws: bool
    """Grants that have not begun to install are taken back."""


@dataclass(frozen=True, slots=True)
class ClearHold:
    """A hold is over by itself: git changed, or its time ran out."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """Select at most `size` devices, in the run's order."""

    number: int
    plan: BatchPlan
    size: int
    is_last: bool
    only_seen: bool


@dataclass(frozen=True, slots=True)
class FillUp:
    """Select the next devices into the last batch, by their numbers: it is filled in parts."""

    batch: int


@dataclass(frozen=True, slots=True)
class BeginAnalysis:
    """A batch's soak is over: its figures are asked from now on."""

    number: int


@dataclass(frozen=True, slots=True)
class Admit:
    """Select at most `limit` more devices into a batch that is open, or after completion."""

    batch: int
    limit: int
    only_seen: bool


@dataclass(frozen=True, slots=True)
class MoveBatch:
    """A batch soaks, passes or fails."""

    number: int
    state: BatchState
    message: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """Give these devices leave to install."""

    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Grants that were never fetched are taken back; the slots are free."""

    run_seq: int
    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Defer:
    """Silent devices are skipped as OfflineDeferred until they are back."""

    run_seq: int
    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TimeOut:
    """Devices gave no verdict within deviceTimeout."""

    run_seq: int
    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GiveUpPreparing:
    """Devices did not stage the release within deviceTimeout: DownloadFailed, excused."""

    run_seq: int
    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GoBack:
    """The run is rolled back: what has not begun is skipped, the rest is sent back."""

    reason: str
    """RolledBackByPolicy or RolledBackByUser."""


@dataclass(frozen=True, slots=True)
class SendBack:
    """These devices completed the run and go back to what they came from."""

    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Heal:
    """These devices drifted after completion and get the release again."""

    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GiveUpHealing:
    """Devices that drift again and again: DriftLoop."""

    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Readmit:
    """Deferred devices are back."""

    devices: tuple[int, ...]
    batch: int


@dataclass(frozen=True, slots=True)
class Release:
    """Devices left the filters before their grant: skipped as NoLongerMatches."""

    run_seq: int
    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChangeOffer:
    """What is tuning of the offer follows the manifest: URLs, deviceTimeout."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing to be done now: what the run waits for, and until when at most."""

    reason: str
    message: str = ""
    until: int | None = None


Action = (
    BeginRun
    | EndRun
    | LetGo
    | StartRun
    | AddHold
    | ClearHold
    | OpenBatch
    | FillUp
    | BeginAnalysis
    | Admit
    | MoveBatch
    | Grant
    | Withdraw
    | Defer
    | TimeOut
    | GiveUpPreparing
    | GoBack
    | SendBack
    | Heal
    | GiveUpHealing
    | Readmit
    | Release
    | ChangeOffer
    | Hold
)
