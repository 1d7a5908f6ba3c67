"""The Kubernetes base renders, fits the API's schemas and agrees with itself and with the code.

No API server is at hand: admission, scheduling, load balancing and the autoscaler's loop are not shown here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from vidi import __version__
from vidi.rpc.server import LIVENESS
from vidi.service import find

Resource = dict[str, Any]
Kind = Callable[..., list[Resource]]
Environment = Callable[[Resource], dict[str, str]]
KUBERNETES = ("1.31", "1.37")
NAMES = ("classifier", "explainer", "clusterer", "gateway", "worker")


def pod(workload: Resource) -> Resource:
    spec = workload["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container(workload: Resource) -> Resource:
    (only,) = pod(workload)["containers"]
    assert isinstance(only, dict)
    return only


def selects(selector: dict[str, str], workload: Resource) -> bool:
    labels = workload["spec"]["template"]["metadata"]["labels"]
    return bool(selector) and selector.items() <= labels.items()


def settings_class(name: str) -> Any:
    factory = find(name).settings
    return factory.func if isinstance(factory, functools.partial) else factory


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_resource_fits_the_strict_schema(version: str, resources: list[Resource]) -> None:
    assert len(resources) > 20
    for resource in resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_strict_schema_rejects_a_misspelt_field(workloads: dict[str, Resource]) -> None:
    wrong = workloads["gateway"] | {"spec": workloads["gateway"]["spec"] | {"replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


def test_everything_lies_in_the_namespace(resources: list[Resource]) -> None:
    (namespace,) = (r["metadata"]["name"] for r in resources if r["kind"] == "Namespace")
    assert {r["metadata"].get("namespace") for r in resources if r["kind"] != "Namespace"} == {namespace}


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_a_setting_and_is_accepted(
    name: str, workloads: dict[str, Resource], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environment(workloads[name])
    (service,) = container(workloads[name])["args"]
    settings = settings_class(service)
    others = set().union(*(settings_class(n).model_fields for n in NAMES))
    own = set(settings.model_fields)
    shared = yaml.safe_load((Path(__file__).parents[2] / "deploy/k8s/base/settings.yaml").read_text().split("---")[0])
    for variable, value in variables.items():
        assert variable.startswith("VIDI_")
        field = variable.removeprefix("VIDI_").lower()
        assert field in others, f"{variable} is no setting"
        assert field in own or variable in shared["data"], f"{variable} means nothing to {name}"
        monkeypatch.setenv(variable, value)
    loaded = find(service).settings()
    assert loaded.host == "0.0.0.0"
    assert str(loaded.data_dir) == "/data"


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_has_longer_to_end_than_its_calls(
    name: str, workloads: dict[str, Resource], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment(workloads[name]).items():
        monkeypatch.setenv(variable, value)
    (service,) = container(workloads[name])["args"]
    settings = find(service).settings()
    assert pod(workloads[name])["terminationGracePeriodSeconds"] > settings.drain_seconds + settings.grace_seconds


@pytest.mark.parametrize("name", NAMES)
def test_probes_ask_the_grpc_port(name: str, workloads: dict[str, Resource], environment: Environment) -> None:
    main = container(workloads[name])
    ports = {p["name"]: p["containerPort"] for p in main["ports"]}
    variables = environment(workloads[name])
    assert ports["grpc"] == int(variables["VIDI_PORT"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert main[probe]["grpc"]["port"] == ports["grpc"]
    assert main["livenessProbe"]["grpc"]["service"] == LIVENESS
    # A draining pod leaves the endpoints but is not killed: readiness asks for the server itself.
    assert main["readinessProbe"]["grpc"].get("service", "") == ""
    for port, variable in (("http", "VIDI_HTTP_PORT"), ("dicom", "VIDI_DIMSE_PORT"), ("metrics", "VIDI_METRICS_PORT")):
        if port in ports:
            assert ports[port] == int(variables[variable])


@pytest.mark.parametrize("name", NAMES)
def test_pods_are_restricted(name: str, workloads: dict[str, Resource], kind: Kind) -> None:
    spec, main = pod(workloads[name]), container(workloads[name])
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    security = main["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    for amount in ("requests", "limits"):
        assert set(main["resources"][amount]) == {"cpu", "memory"}
    accounts = {a["metadata"]["name"]: a for a in kind("ServiceAccount")}
    assert spec["serviceAccountName"] == name
    assert accounts[name]["automountServiceAccountToken"] is False
    mounted = {m["name"] for m in main["volumeMounts"]}
    offered = {v["name"] for v in spec.get("volumes", ())}
    offered |= {t["metadata"]["name"] for t in workloads[name]["spec"].get("volumeClaimTemplates", ())}
    assert mounted == offered == {"data", "tmp"}


@pytest.mark.parametrize("name", NAMES)
def test_images_are_pinned_and_can_be_built(name: str, workloads: dict[str, Resource], root: Path) -> None:
    image, _, tag = container(workloads[name])["image"].rpartition(":")
    assert tag == __version__
    assert (root / "deploy/images" / f"{image.removeprefix('vidi-')}.Dockerfile").is_file()


def test_services_reach_exactly_one_workload(workloads: dict[str, Resource], kind: Kind) -> None:
    for service in kind("Service"):
        reached = [w for w in workloads.values() if selects(service["spec"]["selector"], w)]
        assert len(reached) == 1, service["metadata"]["name"]
        ports = {p["name"] for p in container(reached[0])["ports"]}
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports


def test_workloads_select_their_own_pods(workloads: dict[str, Resource], kind: Kind) -> None:
    services = {s["metadata"]["name"] for s in kind("Service")}
    budgets = [b["spec"]["selector"]["matchLabels"] for b in kind("PodDisruptionBudget")]
    for name, workload in workloads.items():
        assert selects(workload["spec"]["selector"]["matchLabels"], workload)
        assert [b for b in budgets if selects(b, workload)], f"{name} has no disruption budget"
        for spread in pod(workload).get("topologySpreadConstraints", ()):
            assert selects(spread["labelSelector"]["matchLabels"], workload)
        if workload["kind"] == "StatefulSet":
            assert workload["spec"]["serviceName"] in services


def test_the_gateway_finds_every_replica(workloads: dict[str, Resource], kind: Kind, environment: Environment) -> None:
    services = {f"{s['metadata']['name']}.{s['metadata']['namespace']}": s["spec"] for s in kind("Service")}
    for name in ("gateway", "worker"):
        variables = environment(workloads[name])
        for backend in ("classifier", "explainer", "clusterer"):
            scheme, _, rest = variables[f"VIDI_{backend.upper()}_ADDRESS"].partition(":///")
            host, _, port = rest.rpartition(":")
            spec = services[host.removesuffix(".svc.cluster.local")]
            assert scheme == "dns"
            assert spec["clusterIP"] == "None"
            assert int(port) in {p["port"] for p in spec["ports"]}


def test_workers_have_stable_names_and_share_state(workloads: dict[str, Resource], kind: Kind) -> None:
    assert workloads["worker"]["kind"] == "StatefulSet"
    (volume,) = kind("PersistentVolumeClaim")
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in ("gateway", "worker"):
        entries = {e["name"]: e for e in container(workloads[name])["env"]}
        assert entries["VIDI_EXECUTOR_ID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        claims = [
            v["persistentVolumeClaim"]["claimName"]
            for v in pod(workloads[name])["volumes"]
            if "persistentVolumeClaim" in v
        ]
        assert claims == [volume["metadata"]["name"]]


def test_connections_come_from_a_secret(workloads: dict[str, Resource]) -> None:
    wanted = {"gateway": "VIDI_DATABASE_URL", "worker": "VIDI_DATABASE_URL", "explainer": "VIDI_REDIS_URL"}
    for name, variable in wanted.items():
        entries = {e["name"]: e for e in container(workloads[name])["env"]}
        assert entries[variable]["valueFrom"]["secretKeyRef"]["name"] == "vidi-connections"
        assert "value" not in entries[variable]


def test_dicom_senders_keep_their_address(kind: Kind) -> None:
    (dicom,) = (s for s in kind("Service") if s["spec"].get("type") == "LoadBalancer")
    assert dicom["spec"]["externalTrafficPolicy"] == "Local"
    assert [p["port"] for p in dicom["spec"]["ports"]] == [11112]


def test_the_explainer_scales(workloads: dict[str, Resource], kind: Kind) -> None:
    (scaler,) = kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "explainer"}
    assert "replicas" not in workloads["explainer"]["spec"], "two owners of one number"
    assert container(workloads["explainer"])["resources"]["requests"]["cpu"]
