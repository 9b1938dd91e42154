"""What the reasons of targets mean for people, and the way out of each: a verb, a commit, a wait.

`{name}` is the Deployment, `{device}` the device. Whatever can end a device's attempt is here; a
test holds it against the tables of states.
"""

_AGAIN = "`towline retry {name} --device {device} --reason …` tries it again"
_FIX = f"{_AGAIN}, or a commit with a release that works there"
_FILTERS = "a commit that changes the filters, or the device's labels"
_BY_ITSELF = "nothing is to be done: it comes back by itself"

ENDED = {
    "DownloadFailed": ("the package could not be downloaded in time", f"see to its link; {_AGAIN}"),
    "ChecksumMismatch": (
        "what it downloaded is not what was signed",
        f"put the signed package at its URL; {_AGAIN}",
    ),
    "SignatureInvalid": (
        "it refused the signature",
        f"sign the package with a release key of the root; {_AGAIN}",
    ),
    "NoSpace": ("there is no room for the package", f"free some; {_AGAIN}"),
    "NoPrevious": ("it failed, and there was nothing to go back to", f"look at it; {_AGAIN}"),
    "RollbackFailed": ("going back failed, too", f"look at the device by hand; {_AGAIN}"),
    "TimedOut": (
        "no verdict came within deviceTimeout",
        f"a late success still counts; else {_AGAIN}",
    ),
    "Regressed": ("it reports another version than it completed", f"find out why; {_AGAIN}"),
    "DriftLoop": ("it drifted again after each heal", f"find out what changes it; {_AGAIN}"),
    "InstallFailed": ("install.sh failed", _FIX),
    "HealthCheckFailed": ("the health check failed", _FIX),
    "PowerLoss": ("the power went away while it installed", _AGAIN),
    "RolledBackByUser": ("a person sent it back", _AGAIN),
    "RolledBackByPolicy": (
        "a failed gate sent the run back (`onFailure: rollback`)",
        "`towline retry {name} --reason …` begins the next run, or a commit with another release",
    ),
}
"""Of failed and rolled_back."""

SKIPPED = {
    "BelowBarrier": (
        "it runs something older than `requires` allows",
        "roll out a release in between first",
    ),
    "NewerInstalled": (
        "it runs something newer",
        "a commit with `allowDowngrade: true`, if that is meant",
    ),
    "KnownBad": ("this package failed on it before", _FIX),
    "Excluded": ("a person sent it back from this revision", _AGAIN),
    "NoLongerMatches": ("the filters own it no longer", _FILTERS),
    "OwnedByOther": (
        "another Deployment of the component owns it, too",
        "a commit that tells their filters apart, or names the other in `replaces`",
    ),
    "VersionNotComparable": (
        "its version is no semver, and a range asks for an order",
        "a commit that compares with = or !=",
    ),
    "NoPackageForDevice": (
        "no package is for its type and labels",
        "a commit with a package for it",
    ),
    "BelowRollbackIndex": (
        "it committed a higher rollback index than the release has",
        "sign a release with that index or a higher one",
    ),
    "OfflineDeferred": ("it was silent for too long", f"{_BY_ITSELF} when the device polls"),
    "Cancelled": (
        "the run ended before its turn",
        "`towline retry {name} --reason …` begins the next run",
    ),
    "Superseded": ("a newer run took its place", f"{_BY_ITSELF} with the newest run"),
}

WAITS = {
    "Locked": "a program on the device holds a lock; it goes on when the lock is gone",
    "MeteredLink": "its link is metered; it goes on over another one",
}
"""What a device says that it waits for; windows have a time of their own."""


def of_target(reason: str, name: str, device: str) -> tuple[str, str]:
    """What it means, and the way out; a reason that is not known speaks for itself."""
    what, way_out = ENDED.get(reason) or SKIPPED.get(reason) or ("", _AGAIN)
    return what, way_out.format(name=name, device=device)


HOLDS = {
    "PausedByUser": "`towline resume {name} --reason …`",
    "PausedInGit": "a commit without `paused: true`, or `towline resume {name} --reason …`",
    "WaitingForApproval": "`towline approve {name} --reason …`",
    "AnalysisInconclusive": "a clear answer, or `towline approve {name} --reason …`",
    "DeadlineExceeded": "`towline resume {name} --reason …` starts the clock anew",
    "PlanStale": "`towline approve {name} --reason …`, after another look at the plan",
    "SelfHealHeld": "`towline approve {name} --reason …`",
    "PolicyViolated": "a commit that obeys",
    "GitStale": "it goes on when git answers again; see `towline repo status`",
    "RestoredFromBackup": "`towline approve {name} --reason …`",
}
_GATE = (
    "`towline retry {name} --reason …` tries the failed devices again,"
    " `towline resume {name} --accept --reason …` sets their verdicts aside"
)
HOLDS |= dict.fromkeys(("ThresholdNotMet", "NoEvidence"), _GATE)
HOLDS["AnalysisFailed"] = (
    "`towline retry {name} --reason …` asks the figures anew,"
    " `towline resume {name} --accept --reason …` goes on without them"
)


def of_hold(reason: str, name: str) -> str:
    """Who clears a hold, and how."""
    return HOLDS.get(reason, "`towline cancel {name} --reason …`").format(name=name)


RUNS = {
    "WaitingForStart": "`towline start {name} --reason …`",
    "WaitingForStatement": "a commit with the statement (`towline release sign`)",
    "WaitingForDevices": "it goes on when devices are seen; `towline get devices` shows who is not",
    "StartAt": "it begins by itself",
    "WaitingForMerge": "merge the branch",
}


def of_run(reason: str, name: str) -> str:
    """What a run waits for that no hold stops; empty when it moves by itself."""
    return RUNS.get(reason, "").format(name=name)
