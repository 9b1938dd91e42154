"""`towline release sign|verify`: what a statement says, and what is never signed or believed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.agent.archives import member, write_archive
from tests.cli.conftest import everything
from towline.agent.unpack import measure
from towline.cli import main
from towline.cli.package import build
from towline.cli.roots import newest_root
from towline.cli.signing import read
from towline.schemas import envelope, strict_json
from towline.schemas.keys import PrivateKey
from towline.schemas.root import Role, Root, trust_first
from towline.schemas.statement import STATEMENT_TYPE

TOWLINE = Path(sys.executable).with_name("towline")


@pytest.fixture
def package(hello: Path, tmp_path: Path) -> Path:
    """hello-1.0.0.tar.gz, not signed."""
    build(hello, file := tmp_path / "hello-1.0.0.tar.gz")
    return file


def sign(package: Path, fleet: Path, *more: str, version: str = "1.0.0") -> int:
    arguments = ["--component", "hello", "--version", version, "--repo", str(fleet)]
    return main.run(["release", "sign", str(package), *arguments, *more])


def statement(fleet: Path) -> Path:
    return fleet / "releases/hello/1.0.0/hello-1.0.0.tar.gz.json"


def test_the_statement_says_what_the_device_will_measure(package: Path, fleet: Path) -> None:
    more = ("--device-type", "pi4", "--device-type", "pi5", "--rollback-index", "3")
    assert sign(package, fleet, *more) == 0
    word = read(statement(fleet), newest_root(fleet, "acme"))
    inside = measure(package)
    assert (word.organization, word.component, word.version) == ("acme", "hello", "1.0.0")
    assert (word.file_name, word.format) == ("hello-1.0.0.tar.gz", "script")
    assert (word.sha256, word.size) == (inside.sha256, package.stat().st_size)
    assert (word.unpacked_size, word.files) == (inside.unpacked_size, inside.files)
    assert word.content_sha256 == inside.content_sha256
    assert (word.device_types, word.rollback_index) == (("pi4", "pi5"), 3)


def test_stdout_is_yaml_to_paste(package: Path, fleet: Path) -> None:
    arguments = ["sign", str(package), "--component", "hello", "--version", "1.0.0"]
    done = subprocess.run(
        [TOWLINE, "release", *arguments], cwd=fleet, capture_output=True, text=True, check=True
    )
    assert yaml.safe_load(done.stdout) == {
        "package": {
            "url": "hello-1.0.0.tar.gz",
            "checksum": f"sha256:{measure(package).sha256}",
        }
    }
    assert f"# size: {package.stat().st_size} bytes" in done.stdout


def test_signing_the_same_again_leaves_the_file_as_it_is(package: Path, fleet: Path) -> None:
    sign(package, fleet)
    first = statement(fleet)
    document = json.loads(first.read_bytes())
    first.write_text(json.dumps(document, indent=1), encoding="utf-8")
    before = first.read_bytes()
    assert sign(package, fleet) == 0
    assert first.read_bytes() == before


def test_a_version_is_never_used_for_other_bytes(
    package: Path, fleet: Path, hello: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(package, fleet)
    before = everything(fleet)
    (hello / "share/greeting").write_text("changed", encoding="utf-8")
    build(hello, package)
    assert sign(package, fleet) == 1
    said = capsys.readouterr().err
    assert "hello 1.0.0 was signed before with another sha256" in said
    assert "give it a version after 1.0.0" in said
    assert everything(fleet) == before


def test_a_version_is_never_signed_for_other_devices_later(
    package: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(package, fleet)
    assert sign(package, fleet, "--device-type", "pi4") == 1
    assert "with another device types" in capsys.readouterr().err


def test_a_key_that_the_root_does_not_name_signs_nothing(
    package: Path, fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.pem").write_bytes(PrivateKey.generate().pem())
    for key in (tmp_path / "other.pem", fleet / ".towline/keys/online.pem"):
        assert sign(package, fleet, "--key", str(key)) == 1
        assert f"{key} is no release key: root 1 names" in capsys.readouterr().err
    assert not statement(fleet).exists()


def test_the_newest_root_decides_which_keys_sign(package: Path, fleet: Path) -> None:
    first = trust_first((fleet / "trust/root/1.json").read_bytes())
    fresh = PrivateKey.generate()
    (fleet / "fresh.pem").write_bytes(fresh.pem())
    second = Root(2, "acme", first.expires, first.root, Role((fresh.public,), 1), first.online)
    root_key = PrivateKey.load(fleet / ".towline/keys/root.pem")
    (fleet / "trust/root/2.json").write_bytes(second.sign(root_key))
    assert sign(package, fleet) == 1
    assert sign(package, fleet, "--key", str(fleet / "fresh.pem")) == 0


def test_as_many_keys_sign_as_the_root_wants(
    package: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trust_first((fleet / "trust/root/1.json").read_bytes())
    fresh = PrivateKey.generate()
    (fleet / "fresh.pem").write_bytes(fresh.pem())
    both = Role((*first.release.keys, fresh.public), 2)
    second = Root(2, "acme", first.expires, first.root, both, first.online)
    root_key = PrivateKey.load(fleet / ".towline/keys/root.pem")
    (fleet / "trust/root/2.json").write_bytes(second.sign(root_key))
    assert sign(package, fleet) == 1
    assert "wants 2 release keys" in capsys.readouterr().err
    keys = ("--key", str(fleet / "fresh.pem"))
    assert sign(package, fleet, *keys, *keys) == 1, "one key twice is one key"
    assert sign(package, fleet, *keys, "--key", str(fleet / ".towline/keys/release.pem")) == 0
    assert main.run(["release", "verify", str(package), "--repo", str(fleet)]) == 0


def test_a_root_that_nobody_signed_is_not_believed(
    package: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = PrivateKey.generate()
    role = Role((key.public,), 1)
    (fleet / "trust/root/2.json").write_bytes(Root(2, "acme", 2**33, role, role, role).sign(key))
    assert sign(package, fleet) == 1
    assert "the roots are not to be trusted" in capsys.readouterr().err


def test_a_file_that_a_device_would_refuse_is_not_signed(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    assert sign(tmp_path / "x.tar.gz", fleet) == 1
    assert "a device would refuse this package: not-an-archive" in capsys.readouterr().err
    assert list((fleet / "releases").iterdir()) == [fleet / "releases/.gitkeep"]


def test_a_package_whose_saved_paths_no_device_takes_is_not_signed(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = (member("install.sh"), member("backup.paths", b"/var/lib\n"))
    assert sign(write_archive(tmp_path / "x.tar.gz", *members), fleet) == 1
    assert "backup.paths holds '/var/lib'" in capsys.readouterr().err
    assert list((fleet / "releases").iterdir()) == [fleet / "releases/.gitkeep"]


@pytest.mark.parametrize("version", ["", "../1", "1/2", "1 2", ".1", "x" * 101])
def test_a_version_that_is_no_folder_name_is_refused(
    version: str, package: Path, fleet: Path
) -> None:
    assert sign(package, fleet, version=version) == 1


def test_verify_tells_what_was_signed(
    package: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(package, fleet)
    capsys.readouterr()
    assert main.run(["release", "verify", str(package), "--repo", str(fleet)]) == 0
    assert "is what was signed as hello 1.0.0" in capsys.readouterr().err


def test_verify_tells_what_differs_after_one_flipped_byte(
    package: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(package, fleet)
    data = bytearray(package.read_bytes())
    data[len(data) // 2] ^= 1
    package.write_bytes(data)
    assert main.run(["release", "verify", str(package), "--repo", str(fleet)]) == 1
    said = capsys.readouterr().err
    assert "is not what was signed as hello 1.0.0" in said
    assert f"sha256: signed {read(statement(fleet), newest_root(fleet, 'acme')).sha256}" in said
    assert "size:" not in said


def test_verify_tells_of_a_statement_that_promises_another_content(
    package: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(package, fleet)
    document = read(statement(fleet), newest_root(fleet, "acme")).document()
    document["predicate"]["files"] = 99
    key = PrivateKey.load(fleet / ".towline/keys/release.pem")
    sealed = envelope.sign(STATEMENT_TYPE, strict_json.canonical(document), key)
    statement(fleet).write_bytes(sealed.to_bytes())
    assert main.run(["release", "verify", str(package), "--repo", str(fleet)]) == 1
    assert "files: signed 99, found 3" in capsys.readouterr().err


def test_verify_does_not_believe_a_forged_statement(
    package: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(package, fleet)
    document = json.loads(statement(fleet).read_bytes())
    document["signatures"][0]["sig"] = "AAAA"
    statement(fleet).write_text(json.dumps(document), encoding="utf-8")
    assert main.run(["release", "verify", str(package), "--repo", str(fleet)]) == 1
    assert "not signed by the release keys of root 1" in capsys.readouterr().err


def test_verify_without_a_statement_says_the_command_that_signs(
    package: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["release", "verify", str(package), "--repo", str(fleet)]) == 1
    said = capsys.readouterr().err
    assert "no statement on hello-1.0.0.tar.gz" in said
    assert f"towline release sign {package} --component COMPONENT --version VERSION" in said
    assert f"--repo {fleet}" in said


def test_outside_a_fleet_repository_the_way_in_is_said(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sign(package, tmp_path) == 1
    assert "--repo DIR" in capsys.readouterr().err
