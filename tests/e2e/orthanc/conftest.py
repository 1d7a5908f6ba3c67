"""A site: an Orthanc that films come from, two that results go to and that send back all they get, and a gateway."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread

from tests.e2e.gateway.conftest import GatewayProcess, wait_until
from tests.integration.conftest import PASSWORD, USER, Orthanc, running
from tests.support import backends, free_port
from vidi.embedded import Suite
from vidi.phantoms import SEVERITIES, PhantomSpec, make, to_dicom

__all__ = ["backends", "wait_until"]

#: What was counted, for the summary.
COUNTS: list[str] = []

#: Everything that Orthanc stores goes to the gateway, whoever sent it.
FORWARD_ALL = """
function OnStoredInstance(instanceId, tags, metadata, origin)
  SendToModality(instanceId, 'VIDI')
end
"""

#: Films that came by STOW-RS go to both archives, the others to the one that speaks DIMSE.
RULES = """
[[rule]]
name = "by STOW"
mode = "live"
destinations = ["archive", "web"]
[rule.match]
source = "stow:*"

[default]
mode = "live"
destinations = ["archive"]
"""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted."""
    if COUNTS:
        terminalreporter.section("Orthanc to Orthanc")
        for line in COUNTS:
            terminalreporter.write_line(line)


@dataclass(frozen=True)
class Site:
    """Films are put into `source`; results come to `archive` by C-STORE, and to `web` by STOW-RS."""

    source: Orthanc
    archive: Orthanc
    web: Orthanc
    gateway: GatewayProcess
    http: str

    def store(self, films: list[bytes]) -> None:
        """Have the source send films to the gateway by C-STORE."""
        done = post(self.source, "/modalities/VIDI/store", {"Resources": put(self.source, films), "Synchronous": True})
        assert (done["InstancesCount"], done["FailedInstancesCount"]) == (len(films), 0)

    def stow(self, films: list[bytes]) -> None:
        """Have the source send films to the gateway by STOW-RS."""
        body = {"Resources": put(self.source, films), "Synchronous": True}
        assert post(self.source, "/dicom-web/servers/vidi/stow", body) is not None

    def fates(self) -> Counter[str]:
        """Instances that the gateway was sent, by what it did with them."""
        lines = httpx.get(f"{self.http}/metrics", timeout=60, trust_env=False).text
        found = re.findall(r'^vidi_instances_total\{fate="(\w+)"\} ([0-9.e+]+)$', lines, re.MULTILINE)
        return Counter({fate: int(float(n)) for fate, n in found})

    def confirmed(self) -> dict[str, int]:
        """Wait until everything that is to be delivered is confirmed; return how much by destination."""

        def all_confirmed() -> bool:
            self.gateway.states()  # fails when it has ended
            counts = self.gateway.outbox.counts()
            assert not any(state == "dead" for _, state in counts), counts
            return bool(counts) and all(state == "confirmed" for _, state in counts)

        wait_until("all results are confirmed", all_confirmed)
        return {destination: n for (destination, _), n in self.gateway.outbox.counts().items()}


def post(orthanc: Orthanc, path: str, body: dict[str, Any]) -> Any:
    """Ask Orthanc to do something that may take long."""
    answer = httpx.post(orthanc.http + path, json=body, auth=(USER, PASSWORD), timeout=600, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def put(orthanc: Orthanc, films: list[bytes]) -> list[str]:
    """Store films in Orthanc as its users do; its ids of them."""
    with httpx.Client(base_url=orthanc.http, auth=(USER, PASSWORD), timeout=60, trust_env=False) as client:
        return [str(client.post("/instances", content=film).raise_for_status().json()["ID"]) for film in films]


def header_of(film: bytes) -> Dataset:
    """Its header."""
    return dcmread(io.BytesIO(film), stop_before_pixels=True)


def draw(count: int, seed: int, size: int = 256) -> list[bytes]:
    """Different films of size x size pixels, each of a study and patient of its own."""
    specs = [PhantomSpec(seed=seed + i, severity=SEVERITIES[i % 3], height=size, width=size) for i in range(count)]
    return [to_dicom(make(spec)) for spec in specs]


@contextmanager
def open_site(root: Path, backends: Suite) -> Iterator[Site]:
    """Start everything; stop everything."""
    dimse_port, http_port = free_port(), free_port()
    http = f"http://127.0.0.1:{http_port}"
    root.mkdir(parents=True, exist_ok=True)
    script, rules, password = root / "forward.lua", root / "rules.toml", root / "password"
    script.write_text(FORWARD_ALL)
    rules.write_text(RULES)
    password.write_text(PASSWORD)
    data_dir = root / "gateway"
    data_dir.mkdir()
    known = {"VIDI": dimse_port}
    with ExitStack() as stack:
        servers = {"vidi": {"Url": f"{http}/dicomweb", "HasDelete": False}}
        web_of_source = {"Enable": True, "Servers": servers}
        source = stack.enter_context(running(root / "source", known, DicomAet="SOURCE", DicomWeb=web_of_source))
        forward = {"LuaScripts": [str(script)]}
        archive = stack.enter_context(running(root / "archive", known, **forward))
        web = stack.enter_context(running(root / "web", known, **forward))
        kinds = ["sr", "sc", "pm"]
        archive_node = {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.dicom_port}
        web_node = {"name": "web", "protocol": "dicomweb", "url": web.web, "username": USER}
        destinations: list[dict[str, Any]] = [
            archive_node | {"kinds": kinds, "confirm": "commitment"},
            web_node | {"kinds": kinds, "confirm": "query", "password_file": str(password)},
        ]
        settings = {"VIDI_DIMSE_PORT": dimse_port, "VIDI_HTTP_PORT": http_port, "VIDI_RULES_FILE": rules}
        settings |= {"VIDI_SETTLE_SECONDS": 1}
        gateway = GatewayProcess(data_dir, backends, destinations, **{k: str(v) for k, v in settings.items()})
        gateway.port = dimse_port
        stack.callback(gateway.close)
        gateway.start()
        yield Site(source, archive, web, gateway, http)


@pytest.fixture(scope="package")
def film_count() -> int:
    """How many films go round: half by C-STORE, half by STOW-RS."""
    return int(os.environ.get("VIDI_ROUNDTRIP_FILMS", "8"))
