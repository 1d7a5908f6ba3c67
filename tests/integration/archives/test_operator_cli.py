"""`vidi gateway ...` as an operator uses it: in a process of its own, against a running gateway and a real archive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.archives.conftest import Served, archives, varied
from tests.integration.conftest import AE, PASSWORD, USER, Orthanc, running
from tests.support import free_port, uid_of

pytestmark = pytest.mark.timeout(900)

Films = list[bytes]


def vidi(*args: str | Path, server: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `vidi gateway` in a process of its own."""
    environment = {**os.environ, "VIDI_HTTP_SERVER": server} if server else dict(os.environ)
    command = [sys.executable, "-m", "vidi.cli", "gateway", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment, **options)


def lines(ran: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, studies: dict[str, Films]) -> Iterator[tuple[Served, Orthanc]]:
    """A gateway, and an archive with the films; each knows the other."""
    root = tmp_path_factory.mktemp("site")
    gateway = Served(root / "gateway", TEST_ORTHANC_PASSWORD=PASSWORD)
    with running(root / "orthanc", {"VIDI": gateway.dimse_port}) as orthanc:
        for films in studies.values():
            for film in films:
                orthanc.put(film)
        node = {"name": "pacs", "ae_title": AE, "host": "127.0.0.1", "port": orthanc.dicom_port}
        web = {"name": "web", "protocol": "dicomweb", "url": orthanc.web, "username": USER}
        closed = web | {"name": "closed"}
        gateway.environment["VIDI_ARCHIVES"] = archives(node, web | {"password_env": "TEST_ORTHANC_PASSWORD"}, closed)
        try:
            gateway.start()
            yield gateway, orthanc
        finally:
            gateway.close()


@pytest.fixture
def gateway(site: tuple[Served, Orthanc]) -> Served:
    return site[0]


@pytest.fixture
def folder(tmp_path: Path, dx_film: bytes) -> Path:
    """Two films, one of them in a folder below, and what is none."""
    root = tmp_path / "films"
    (root / "below").mkdir(parents=True)
    (root / "one.dcm").write_bytes(varied(dx_film))
    (root / "below" / "without suffix").write_bytes(varied(dx_film))
    (root / "notes.txt").write_text("no film")
    return root


def test_echo(site: tuple[Served, Orthanc]) -> None:
    gateway, orthanc = site
    for node in (f"127.0.0.1:{gateway.dimse_port}:VIDI", f"VIDI@127.0.0.1:{gateway.dimse_port}", "pacs", "web"):
        (said,) = lines(vidi("echo", node, "--json", server=gateway.url))
        assert said["ok"] and not said["error"], said
    assert "answers" in vidi("echo", f"127.0.0.1:{orthanc.dicom_port}:{AE}").stdout
    for node, why in (
        (f"127.0.0.1:{free_port()}:VIDI", "NO_ASSOCIATION"),
        (f"127.0.0.1:{gateway.dimse_port}:WRONG", "ASSOCIATION_REJECTED"),
        (f"http://127.0.0.1:{free_port()}/dicom-web", "NO_CONNECTION"),
        ("closed", "HTTP_401"),
    ):
        ran = vidi("echo", node, "--json", "--timeout", "5", server=gateway.url)
        said = json.loads(ran.stdout)
        assert ran.returncode == 1 and not said["ok"] and why in said["error"], (node, ran)


def test_send_by_c_store(gateway: Served, folder: Path) -> None:
    films = [folder / "one.dcm", folder / "below" / "without suffix"]
    ran = vidi("send", folder, "--to", f"127.0.0.1:{gateway.dimse_port}:VIDI", "--json")
    said = lines(ran)
    assert [line["status"] for line in said[:-1]] == ["sent", "sent"]
    assert said[-1] == {"summary": {"films": 2, "sent": 2, "failed": 0}}
    assert {uid_of(f.read_bytes()) for f in films} <= gateway.uids()


def test_send_by_stow(gateway: Served, folder: Path) -> None:
    ran = vidi("send", folder / "one.dcm", folder / "below", "--to", f"{gateway.url}/dicomweb")
    assert ran.returncode == 0 and "2 of 2 films sent" in ran.stdout, ran
    assert uid_of((folder / "one.dcm").read_bytes()) in gateway.uids()


def test_what_cannot_be_sent_gives_exit_code_3(gateway: Served, folder: Path) -> None:
    (folder / "broken.dcm").write_bytes((folder / "one.dcm").read_bytes()[:200])
    paths = (folder, folder / "notes.txt")
    for to in (f"127.0.0.1:{gateway.dimse_port}:VIDI", f"{gateway.url}/dicomweb"):
        ran = vidi("send", *paths, "--to", to, "--json")
        said = [json.loads(line) for line in ran.stdout.splitlines()]
        assert ran.returncode == 3 and said[-1]["summary"] == {"films": 4, "sent": 2, "failed": 2}, ran
        codes = {Path(line["input"]).name: line["code"] for line in said[:-1] if line["status"] == "failed"}
        assert codes.keys() == {"broken.dcm", "notes.txt"} and codes["notes.txt"] == "NOT_DICOM"
    nobody = vidi("send", folder / "one.dcm", "--to", f"127.0.0.1:{free_port()}:VIDI")
    assert nobody.returncode == 3 and "NO_ASSOCIATION" in nobody.stderr and "0 of 1" in nobody.stdout
    assert vidi("send", folder / "missing.dcm").returncode == 2


def test_query(site: tuple[Served, Orthanc], studies: dict[str, Films]) -> None:
    gateway, orthanc = site
    direct = f"127.0.0.1:{orthanc.dicom_port}:{AE}"
    for node in (direct, "pacs", "web"):
        found = lines(vidi("query", node, "-k", "StudyDate=20240101-20240105", "--json", server=gateway.url))
        assert {m["study_uid"] for m in found} == set(list(studies)[:5]), node
        assert {m["modality"] for m in found} == {"DX"}
    shown = vidi("query", direct, "--limit", "3")
    assert shown.returncode == 0 and "3 found; there may be more" in shown.stdout
    assert sum(study in shown.stdout for study in studies) == 3 and "anary" not in shown.stdout.lower()
    study = next(iter(studies))
    series = lines(vidi("query", direct, "--level", "series", "-k", f"StudyInstanceUID={study}", "--json"))
    assert [s["instances"] for s in series] == [2]
    refused = vidi("query", "pacs", "-k", "PatientName=*", server=gateway.url)
    assert refused.returncode == 1 and "StudyDate" in refused.stderr
    for wrong in (("-k", "StudyDate"), ("-k", "NoSuchKeyword=1")):
        ran = vidi("query", direct, *wrong)
        assert ran.returncode == 1 and ran.stderr.startswith("vidi: ") and "Traceback" not in ran.stderr, ran


def test_pull(site: tuple[Served, Orthanc], studies: dict[str, Films], tmp_path: Path) -> None:
    gateway, _ = site
    (made,) = lines(
        vidi("pull", "start", "pacs", "--date", "20240101-20240103", "--watch", "--json", server=gateway.url)
    )
    assert (made["state"], made["done"], made["films"]) == ("done", 3, 6)
    fourth, fifth = list(studies)[3:5]
    listed = tmp_path / "list.txt"
    listed.write_text(f"# two studies and one that is not there\n{fourth}\n\n{fifth}\n1.2.3.4\n")
    started = vidi("pull", "start", "web", "--list", listed, "--name", "two more", server=gateway.url)
    pull_id = started.stdout.partition(":")[0]
    watched = vidi("pull", "watch", pull_id, server=gateway.url)
    assert watched.returncode == 3 and "2 of 3 items, 4 films, 1 failed" in watched.stdout, watched
    status = vidi("pull", "status", pull_id, server=gateway.url)
    assert "NOTHING_FOUND: 1.2.3.4" in status.stdout
    assert {uid_of(f) for s in list(studies)[:5] for f in studies[s]} <= gateway.uids()
    again = vidi("pull", "resume", pull_id, server=gateway.url)
    assert again.returncode == 0 and "running" in again.stdout
    assert json.loads(vidi("pull", "cancel", pull_id, "--json", server=gateway.url).stdout)["id"] == pull_id
    names = vidi("pull", "list", server=gateway.url).stdout
    assert pull_id in names and "two more" in names and made["id"] in names


def test_pulls_that_cannot_be_started(gateway: Served, tmp_path: Path) -> None:
    binary, text = tmp_path / "binary", tmp_path / "text"
    binary.write_bytes(b"\xff\xfe\x00")
    text.write_text("1.2.3\nnot a uid\n")
    for args, code, why in (
        (("pacs",), 2, "give UIDs"),
        (("pacs", "--study", "1.2.3", "--date", "20240101"), 2, "give UIDs"),
        (("nowhere", "--study", "1.2.3"), 1, "VIDI_ARCHIVES"),
        (("pacs", "--date", "yesterday"), 1, "study_date"),
        (("pacs", "--list", str(binary)), 1, "no list of UIDs"),
        (("pacs", "--list", str(text)), 1, "line 2"),
        (("pacs", "--list", str(tmp_path / "missing")), 2, "does not exist"),
    ):
        ran = vidi("pull", "start", *args, server=gateway.url)
        assert ran.returncode == code and why in ran.stderr, (args, ran)
        assert "Traceback" not in ran.stderr
    missing = vidi("pull", "status", "l0", server=gateway.url)
    assert missing.returncode == 1 and "no pull named 'l0'" in missing.stderr


def test_status_and_the_switch(gateway: Served) -> None:
    shown = vidi("status", server=gateway.url)
    assert shown.returncode == 0 and "delivery running" in shown.stdout and "disk free" in shown.stdout
    try:
        stopped = vidi("stop-delivery", server=gateway.url)
        assert stopped.returncode == 0 and "delivery is stopped" in stopped.stdout
        (said,) = lines(vidi("status", "--json", server=gateway.url))
        assert said["delivery"]["state"] == "stopped" and said["banner"]
        assert said["banner"] in vidi("status", server=gateway.url).stdout
    finally:
        started = vidi("start-delivery", "--json", server=gateway.url)
    assert lines(started)[0]["state"] == "running"
    (replayed,) = lines(vidi("replay", "--json", server=gateway.url))
    assert replayed == {"objects": 0}


def test_withdraw_impact_and_audit(gateway: Served, folder: Path) -> None:
    vidi("send", folder / "one.dcm", "--to", f"127.0.0.1:{gateway.dimse_port}:VIDI")
    uid = uid_of((folder / "one.dcm").read_bytes())
    (film,) = [i for i in gateway.journal.page(1000) if gateway.journal.film(i).sop_instance_uid == uid]
    asked = vidi("withdraw", film, server=gateway.url, stdin=subprocess.DEVNULL)
    assert asked.returncode == 1 and gateway.journal.film(film).withdrawn_at is None, "nobody has confirmed"
    done = vidi("withdraw", film, "--reason", "safety", "--yes", server=gateway.url)
    assert done.returncode == 0 and "1 of 1 films" in done.stdout, done
    assert gateway.journal.film(film).withdrawn_at is not None
    (impact,) = lines(vidi("impact", "--model", "pneumonia-slim", "--from", "2024-01-01", "--json", server=gateway.url))
    assert impact["count"] == len(impact["films"])
    nothing = vidi("impact", "--model", "no-such-line", "--withdraw", "--yes", server=gateway.url)
    assert nothing.returncode == 0 and "nothing to withdraw" in nothing.stdout
    records = lines(vidi("audit", "--limit", "1000", "--json", server=gateway.url))
    assert film in {r["film_id"] for r in records}
    (used,) = lines(vidi("audit", "--event", "audit log used", "--limit", "1", "--json", server=gateway.url))
    assert used["event"] == "audit log used" and used["source"] == "http:127.0.0.1"
    shown = vidi("audit", server=gateway.url)
    assert shown.returncode == 0 and film in shown.stdout and uid not in shown.stdout


def test_errors_can_be_read(gateway: Served, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for args, why in (
        (("status", "--server", nobody), "is it running"),
        (("status", "--server", "gateway:8080"), "is a URL"),
        (("status", "--server", gateway.url, "--ca", str(tmp_path / "ca.pem")), "there is no file"),
        (("echo", "a/b"), "host:port:AE_TITLE"),
        (("echo", "somewhere", "--server", gateway.url), "VIDI_ARCHIVES"),
        (("send", str(tmp_path), "--to", "pacs"), "--to is host:port:AE_TITLE"),
    ):
        ran = vidi(*args)
        assert ran.returncode == 1 and ran.stderr.startswith("vidi: ") and why in ran.stderr, (args, ran)
        assert len(ran.stderr.splitlines()) == 1


def test_something_else_answers(site: tuple[Served, Orthanc]) -> None:
    ran = vidi("status", "--server", site[1].http)
    assert ran.returncode == 1 and "is no ViDi gateway" in ran.stderr


def test_help_loads_nothing_heavy() -> None:
    heavy = "('pydicom', 'requests', 'fastapi', 'sqlalchemy')"
    code = f"import sys; from vidi.cli import build; build(); print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.strip() == "[]"
