"""The rendered Kubernetes base."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
Resource = dict[str, Any]


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def resources() -> list[Resource]:
    """Render deploy/k8s/base as `kubectl apply -k` would."""
    kubectl = Path(sys.executable).with_name("kubectl")
    command = [str(kubectl), "kustomize", str(ROOT / "deploy/k8s/base")]
    rendered = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert rendered.returncode == 0, rendered.stderr
    return [doc for doc in yaml.safe_load_all(rendered.stdout) if doc]


@pytest.fixture(scope="session")
def kind(resources: list[Resource]) -> Callable[..., list[Resource]]:
    """Return the resources of some kinds."""
    return lambda *kinds: [r for r in resources if r["kind"] in kinds]


@pytest.fixture(scope="session")
def workloads(kind: Callable[..., list[Resource]]) -> dict[str, Resource]:
    """Return Deployments and StatefulSets by name."""
    found = {r["metadata"]["name"]: r for r in kind("Deployment", "StatefulSet")}
    assert set(found) == {"classifier", "explainer", "clusterer", "gateway", "worker"}
    return found


@pytest.fixture(scope="session")
def environment(kind: Callable[..., list[Resource]]) -> Callable[[Resource], dict[str, str]]:
    """Return a workload's variables as its container would see them; what comes from elsewhere is named, not known."""
    maps = {r["metadata"]["name"]: r["data"] for r in kind("ConfigMap")}

    def of(workload: Resource) -> dict[str, str]:
        container = workload["spec"]["template"]["spec"]["containers"][0]
        variables: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            variables |= maps[source["configMapRef"]["name"]]
        for entry in container.get("env", ()):
            source = entry.get("valueFrom", {})
            if "secretKeyRef" in source:
                variables[entry["name"]] = f"postgresql://secret/{source['secretKeyRef']['key']}"
            elif "fieldRef" in source:
                variables[entry["name"]] = f"{workload['metadata']['name']}-0"
            else:
                variables[entry["name"]] = entry["value"]
        return variables

    return of
