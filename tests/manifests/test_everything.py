"""A repository that uses every key that works, as its engineers would write it."""

import pytest

from tests.manifests.texts import load_texts
from towline.manifests.load import Loaded
from towline.manifests.model import SizeKind, StrategyKind
from towline.manifests.policy import policy_for, violations

_ARM64, _AMD64, _NEXT = (f"sha256:{byte * 32}" for byte in ("0c", "1d", "2e"))

DEPLOYMENT = f"""\
apiVersion: towline/v1
kind: Deployment
metadata:
  name: pos-agent
  title: POS agent, production
  labels: {{team: retail}}
  replaces: [pos-agent-legacy]
spec:
  component: system
  targetVersion: "2.4.1"
  requires: ">=2.0.0"
  allowDowngrade: false
  packages:
    - urls: [https://cdn.example.com/pos-agent-2.4.1-arm64.tar.gz, pos-agent-2.4.1-arm64.tar.gz]
      checksum: {_ARM64}
      deviceTypes: [raspberry_pi, rock_5b]
    - url: https://cdn.example.com/pos-agent-2.4.1-amd64.tar.gz
      checksum: {_AMD64}
      format: script
      labels: {{cpu: [amd64, x86_64]}}
  install: {{timeout: 10m, reboot: never}}
  health:
    - {{name: http, http: {{port: 8080, path: /healthz, status: 200}}}}
    - {{name: port, tcp: {{port: 8080}}}}
    - {{name: probe, script: health/pos.sh}}
  rollback: {{automatic: true}}
  experiment:
    arms:
      - {{name: a, weight: 50}}
      - name: b
        weight: 50
        targetVersion: "2.5.0"
        package: {{url: https://cdn.example.com/pos-agent-2.5.0.tar.gz, checksum: "{_NEXT}"}}
  releaseNotes: Bug fixes
  filters:
    device_type: raspberry_pi
    group: canary-stores
    labels: {{region: eu}}
    expressions: [{{key: stage, operator: In, values: [production]}}]
    devices: [pi-0042]
    exclude: [pi-0007]
    current_version: ">=2.0, !=2.4.1"
    status: online
  maxDevices: 5000
  strategy:
    type: batches
    batches:
      - name: lab
        filters: {{labels: {{stage: lab}}}}
        size: 100%
        successThreshold: 100%
        soak: 1d
      - {{name: early, size: 10%, soak: 24h}}
      - {{name: half, size: 50%, approval: manual, soak: 48h}}
  order: salted
  soak: 0s
  successThreshold: 95%
  onFailure: rollback
  safeMode: true
  deviceTimeout: 1h
  progressDeadline: 48h
  maxConcurrent: 1000
  disruptionBudget: {{groupBy: store, maxUnavailable: 1}}
  offline: {{after: 24h}}
  windows:
    - {{allow: {{days: Mon-Fri, start: "01:00", length: 4h}}}}
    - {{deny: {{from: 2026-12-20, to: 2027-01-02}}, timeZone: UTC, reason: holiday freeze}}
  start: 2026-12-01T06:00:00Z
  paused: false
  selfHeal: true
  analysis:
    - name: crash-rate
      http: {{url: "http://prom:9090/api/v1/query?query=crashes", value: data.result.0.value.1}}
      pass: "< 0.01"
      interval: 5m
      count: 3
"""
OTHERS = f"""\
apiVersion: towline/v1
kind: DeviceGroup
metadata: {{name: canary-stores}}
spec: {{filters: {{labels: {{store: [s1, s2]}}, devices: [pi-0042], exclude: []}}}}
---
apiVersion: towline/v1
kind: Freeze
metadata: {{name: holidays}}
spec:
  windows: [{{deny: {{from: 2026-12-20, to: 2027-01-02}}}}]
  filters: {{}}
  reason: holiday freeze
---
apiVersion: towline/v1
kind: Policy
metadata: {{name: fleet}}
spec:
  packageHosts: [cdn.example.com]
  maxDevices: 10000
  maxShareFirstBatch: 20%
  minSoak: [{{labels: {{region: eu}}, soak: 24h}}]
  allowStrategies: [manual, canary, rolling, batches]
  maxRemoved: 50%
  stalePlan: 10%
  apiCommits: branch
  approvals: [{{aboveDevices: 1000, count: 2}}]
  staleGit: {{alertAfter: 15m, holdAfter: 24h}}
---
apiVersion: towline/v1
kind: Device
metadata: {{name: pi-0042, labels: {{store: s1}}}}
spec: {{publicKey: "ed25519:{"ab" * 32}", deviceType: raspberry_pi, state: active}}
"""


@pytest.fixture(name="everything", scope="module")
def _everything() -> Loaded:
    return load_texts(pos=DEPLOYMENT, fleet=OTHERS)


def test_every_kind_and_key_that_works_loads(everything: Loaded) -> None:
    assert everything.errors == ()
    assert set(everything.deployments) == {"pos-agent"}
    assert set(everything.groups) == {"canary-stores"}
    assert set(everything.freezes) == {"holidays"}
    assert set(everything.policies) == {"fleet"}
    assert set(everything.devices) == {"pi-0042"}


def test_its_batches_are_those_that_are_listed_and_the_rest(everything: Loaded) -> None:
    deployment = everything.deployments["pos-agent"]
    assert deployment.strategy is StrategyKind.BATCHES
    assert [(plan.name, plan.amount, plan.needs_approval) for plan in deployment.batches] == [
        ("lab", 100, False),
        ("early", 10, False),
        ("half", 50, True),
        ("rest", 0, False),
    ]
    assert deployment.batches[-1].size is SizeKind.REST


def test_it_obeys_its_policy(everything: Loaded) -> None:
    deployment = everything.deployments["pos-agent"]
    policy = policy_for(everything.policies, deployment.file)
    assert violations(deployment, policy) == ()
