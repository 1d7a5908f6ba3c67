"""Rules, reading order and kill switch, in a gateway of its own with real services and a PACS."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, generate_uid

from tests.support import uid_of
from vidi_gateway.dimse.receiver import Receiver
from vidi_gateway.store.database import Database
from vidi_gateway.store.records import FilmState

# Processes are started and killed: minutes on a machine that does much else.
pytestmark = pytest.mark.timeout(1800)

Launch = Callable[..., Any]
Wait = Callable[..., None]
RULES = """
[[rule]]
name = "no CT"
action = "ignore"
[rule.match]
modality = "CT"

[[rule]]
name = "trial"
mode = "shadow"
[rule.match]
called_ae = "TRIAL"

[default]
mode = "live"
destinations = { pacs = ["sr"] }

[reading_order.weights]
mild = 1.0
medium = 1.0
severe = 1.0
"""


def computed_tomography(film: bytes) -> bytes:
    ds = dcmread(io.BytesIO(film))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.Modality = "CT"
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def test_live_films_are_sent_shadow_films_are_not_and_ignored_films_are_dropped(
    launch: Launch, receiver: Receiver, phantoms: list[bytes], tmp_path: Path, port: int
) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    gateway = launch(
        ("pacs", receiver.port),
        VIDI_RULES_FILE=str(tmp_path / "rules.toml"),
        VIDI_AE_MODELS='{"TRIAL": "tiny-severity"}',
        VIDI_HTTP_PORT=str(port),
    )
    shadow, live, ct = phantoms[0], phantoms[1], computed_tomography(phantoms[2])
    assert [s.status for s in gateway.send(shadow, called_ae="TRIAL")] == [0]
    assert [s.status for s in gateway.send(live, ct)] == [0, 0]
    gateway.settle(2)
    records = gateway.records()
    assert records.keys() == {uid_of(shadow), uid_of(live)}
    assert gateway.audit.counts("dropped") == {"OUT_OF_RULES": 1}
    tried, sent = records[uid_of(shadow)], records[uid_of(live)]
    # Shadow: computed and stored like the other one, and sent nowhere.
    assert tried.state is sent.state is FilmState.DONE
    assert {o.kind for o in tried.objects} == {o.kind for o in sent.objects} >= {"sr", "sc", "pm"}
    assert not [d for o in tried.objects for d in o.deliveries]
    assert [(o.kind, d.destination) for o in sent.objects for d in o.deliveries] == [("sr", "pacs")]
    assert [dcmread(p).Modality for p in receiver.files.values()] == ["SR"]
    # Nor does a model on trial pull its film forward, however urgent it would be.
    base = f"http://127.0.0.1:{port}/api/v1"
    listed = httpx.get(f"{base}/worklist", timeout=60).json()
    assert listed["total"] == 2
    by_film = {s["films"][0]["film_id"]: s for s in listed["studies"]}
    assert by_film[tried.film_id]["urgency"] == 0.0 and by_film[tried.film_id]["urgency_reasons"] == []
    assert by_film[sent.film_id]["urgency"] > 0.9
    assert (by_film[sent.film_id]["position"], by_film[sent.film_id]["arrival_position"]) == (1, 2)
    # What was done is what a dry run says, and a dry run does nothing.
    asked: dict[str, Any] = {"headers": {"content-type": "application/dicom"}, "timeout": 60}
    said = httpx.post(f"{base}/rules/try?called=TRIAL", content=live, **asked).json()
    assert (said["fate"], said["routing"]["rule"], said["routing"]["sends"]) == ("shadow", "trial", {})
    said = httpx.post(f"{base}/rules/try", content=shadow, **asked).json()
    assert (said["fate"], said["checks"]) == ("live", ["header", "population"])
    assert said["routing"]["sends"] == {"pacs": ["sr"]}
    assert httpx.post(f"{base}/rules/try", content=ct, **asked).json()["reason_code"] == "OUT_OF_RULES"
    assert httpx.post(f"{base}/rules/try", content=b"x" * 200, **asked).status_code == 400
    assert len(gateway.records()) == 2
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    assert 'vidi_source_films{source="dimse:*@127.0.0.1",state="done"} 2.0' in metrics
    assert 'vidi_source_refusals{reason="OUT_OF_RULES",source="dimse:*@127.0.0.1"} 1.0' in metrics


def test_while_delivery_is_stopped_films_are_taken_and_processed_and_nothing_is_sent(
    launch: Launch, receiver: Receiver, phantoms: list[bytes], wait: Wait, port: int
) -> None:
    gateway = launch(("pacs", receiver.port, ["sr"]), VIDI_HTTP_PORT=str(port))
    url = f"http://127.0.0.1:{port}/api/v1/operations"
    stopped = httpx.post(f"{url}/delivery", json={"state": "stopped", "actor": "ann"}, timeout=60).json()
    assert stopped["state"] == "stopped"
    assert [s.status for s in gateway.send(*phantoms[:3])] == [0, 0, 0]
    wait("three done films", lambda: gateway.states() == {"done": 3})
    assert sum(n for (_, state), n in gateway.outbox.counts().items() if state == "pending") == 3
    gateway.kill()
    gateway.start()  # the switch outlives the process
    assert [s.status for s in gateway.send(phantoms[3])] == [0]
    wait("four done films", lambda: gateway.states() == {"done": 4})
    status = httpx.get(f"{url}/status", timeout=60).json()
    assert "Delivery of results was stopped" in status["banner"]
    assert receiver.received == ()
    assert httpx.post(f"{url}/delivery", json={"state": "running"}, timeout=60).json()["state"] == "running"
    gateway.settle(4)
    assert len(receiver.received) == 4
    assert httpx.get(f"{url}/status", timeout=60).json()["banner"] == ""


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ('model = "no-such"', "rule 'x': model: no model 'no-such' is loaded (loaded: "),
        ('destinations = ["lab"]', "rule 'x': destinations: no destination 'lab' is set up"),
        ("modee = 1", "rule 'x': modee: there is no such field"),
    ],
)
def test_a_gateway_with_wrong_rules_does_not_start(backends: Any, tmp_path: Path, rule: str, says: str) -> None:
    (tmp_path / "rules.toml").write_text(
        f'[default]\nmode = "live"\n[[rule]]\nname = "x"\nmode = "live"\n{rule}\n[rule.match]\nmodality = "CR"\n'
    )
    environment = {
        **os.environ,
        "VIDI_DATA_DIR": str(tmp_path / "data"),
        "VIDI_CLASSIFIER_ADDRESS": backends.addresses["classifier"],
        "VIDI_EXPLAINER_ADDRESS": backends.addresses["explainer"],
        "VIDI_PORT": "0",
        "VIDI_HTTP_PORT": "-1",
        "VIDI_DIMSE_PORT": "0",
        "VIDI_RULES_FILE": str(tmp_path / "rules.toml"),
    }
    command = [sys.executable, "-c", "from vidi.cli import main; main()", "serve", "gateway"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 1
    assert f"rules.toml: {says}" in ended.stderr + ended.stdout
    journal = tmp_path / "data" / "journal.sqlite3"
    assert not journal.exists() or not _films(journal)


def _films(journal: Path) -> int:
    database = Database(f"sqlite:///{journal}")
    try:
        with database.read() as c:
            return int(c.exec_driver_sql("SELECT count(*) FROM films").scalar_one())
    finally:
        database.close()
