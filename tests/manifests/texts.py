"""Manifests as text, for tests: the smallest one, and it with more keys."""

from towline.manifests.load import Loaded, load
from towline.manifests.model import Deployment

CHECKSUM = "sha256:" + "0c" * 32
PACKAGE = f"  package: {{url: pos-agent-2.4.1.tar.gz, checksum: '{CHECKSUM}'}}\n"


def manifest(*spec_lines: str, name: str = "pos-agent", package: str = PACKAGE) -> str:
    """A Deployment with more lines in its spec."""
    more = "".join(f"  {line}\n" for line in spec_lines)
    is_versioned = any(line.startswith("targetVersion") for line in spec_lines)
    version = "" if is_versioned else '  targetVersion: "2.4.1"\n'
    return (
        "apiVersion: towline/v1\n"
        "kind: Deployment\n"
        f"metadata: {{name: {name}}}\n"
        f"spec:\n{version}{package}{more}"
    )


def group(name: str, filters: str = "{labels: {stage: lab}}") -> str:
    """A DeviceGroup."""
    return (
        f"apiVersion: towline/v1\nkind: DeviceGroup\nmetadata: {{name: {name}}}\n"
        f"spec: {{filters: {filters}}}\n"
    )


def load_texts(**files: str) -> Loaded:
    """Load files named by their stem."""
    return load({f"{stem}.yaml": text.encode() for stem, text in files.items()})


def load_one(text: str) -> Deployment:
    """The one Deployment of a text that must load."""
    loaded = load_texts(a=text)
    assert loaded.errors == (), "\n".join(map(str, loaded.errors))
    (deployment,) = loaded.deployments.values()
    return deployment


def said(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Path, message and remedy of every error."""
    return [(error.path, error.message, error.remedy) for error in loaded.errors]
