"""How each way to fail ends: exit code, words on stderr, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from towline import __version__
from towline.cli import main
from towline.cli.exit_codes import NotAuthorised
from towline.schemas.problems import Place, Problem, Refused

TOWLINE = Path(sys.executable).with_name("towline")


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOWLINE, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def failing() -> None:
    """The command of the failing rows; what it raises is set by each test."""
    raise _error


_error: BaseException = RuntimeError()


@pytest.fixture(autouse=True)
def _failing_command(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ("failing", f"{__name__}:failing", "Fails.", "Test")
    monkeypatch.setattr(main, "COMMANDS", (*main.COMMANDS, row))
    monkeypatch.delenv("TOWLINE_DEBUG", raising=False)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (Problem("it broke", remedy="mend it", place=Place("f", 3)), 1, "error: f:3: it broke\n"),
        (Refused("wrong-org", "acme"), 1, "error: refused: wrong-org: acme\n"),
        (NotAuthorised("the token is not known"), 4, "error: the token is not known\n"),
        (PermissionError(13, "Permission denied", "x"), 1, "error: x: Permission denied\n"),
        (typer.Exit(5), 5, ""),
        (typer.BadParameter("no"), 64, "Error: Invalid value: no"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Abort(), 130, ""),
        (ModuleNotFoundError("No module", name="git"), 1, "pip install 'towline[server]'"),
        (
            ModuleNotFoundError("No module named 'towline.x'", name="towline.x"),
            1,
            "this is a bug in towline: No module named 'towline.x'",
        ),
        (KeyError("k"), 1, "this is a bug in towline: KeyError: 'k'\n"),
    ],
)
def test_each_way_to_fail_has_its_code_and_words(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_error", error)
    assert main.run(["failing"]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert not said.out


def test_a_bug_shows_its_traceback_when_asked_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOWLINE_DEBUG", "1")
    monkeypatch.setattr(sys.modules[__name__], "_error", KeyError("k"))
    assert main.run(["failing"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_remedy_is_said_below_the_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_error", Problem("it broke", remedy="mend it"))
    main.run(["failing"])
    assert capsys.readouterr().err == "error: it broke\n  → mend it\n"


def test_a_wrong_word_is_told_with_the_right_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["get", "devcies"]) == 64
    told = capsys.readouterr().err
    assert "'what': 'devcies' is not one of 'deployments', 'devices'" in told


@pytest.mark.parametrize("arguments", [["no-such-command"], ["failing", "--no-such-option"], []])
def test_a_wrong_call_ends_with_64(arguments: list[str]) -> None:
    assert main.run(arguments) == 64


def test_a_mistyped_command_is_answered_with_the_right_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main.run(["innit"])
    assert "Did you mean 'init'?" in capsys.readouterr().err


def test_the_version_is_said_on_stdout() -> None:
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"towline {__version__}\n")


def test_every_command_of_the_table_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name, *_ in main.COMMANDS:
        assert main.run([name, "--help"]) == 0, name
        assert f"towline {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'pydantic', 'yaml', 'ruamel', 'git', 'fastapi', 'sqlalchemy', 'cryptography'}"
    code = (
        "import sys; from towline.cli import main; main.run(['--help']);"
        f"sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Make a fleet repository." in done.stdout


def test_the_base_install_is_told_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')\n", encoding="utf-8"
    )
    done = command("--help", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "pip install 'towline[server]'" in done.stderr
    assert "Traceback" not in done.stderr
