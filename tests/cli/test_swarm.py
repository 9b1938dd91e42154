"""What `towline swarm` refuses of what was typed, before it speaks to anybody."""

import pytest

from towline.cli.exit_codes import ExitCode
from towline.cli.main import run

JOIN = "towline+https://127.0.0.1:9/join?org=acme&token=t&root=sha256:0"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--label", "simulated=yes"), "towline join create --label"),
        (("--server", "https://127.0.0.1:9"), "leave --server out"),
    ],
)
def test_what_a_join_string_says_already_is_not_ignored(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert run(["swarm", "--join", JOIN, *options]) == ExitCode.USAGE
    assert words in " ".join(capsys.readouterr().err.replace("│", "").split())


@pytest.mark.parametrize(
    ("option", "value", "message", "remedy"),
    [
        ("--bad-rate", "2", "is no share", "write 2% or 0.5%"),
        ("--bad-rate", "hw=v1:30%", "is no share", "write 2% or 0.5%"),
        ("--offline", "101%", "is no share", "write 2% or 0.5%"),
        ("--for", "30", "is no duration", "write 90s, 30m, 2h or 1d"),
        ("--every", "often", "is no duration", "write 90s, 30m, 2h or 1d"),
        ("--label", "simulated", "is no label", "write --label KEY=VALUE"),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_slip_of_usage(
    capsys: pytest.CaptureFixture[str], option: str, value: str, message: str, remedy: str
) -> None:
    assert run(["swarm", option, value]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"error: {value!r} {message}\n  → {remedy}\n"
