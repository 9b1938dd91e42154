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
