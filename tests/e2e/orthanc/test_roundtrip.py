"""Films from a real Orthanc, results to a real Orthanc that sends them back: all there and confirmed, nothing twice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from pynetdicom import AE
from requests import Session

from tests.e2e.orthanc.conftest import COUNTS, Site, draw, header_of, open_site, post, put, wait_until
from tests.integration.conftest import PASSWORD, USER, Orthanc
from tests.support import uid_of
from vidi.embedded import Suite
from vidi_gateway.store.schema import outbox

pytestmark = pytest.mark.timeout(1800)

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
#: A report, a capture, and for each of three classes a map of each sign.
KINDS = {"sr": 1, "sc": 1, "pm": 6}
OF_A_FILM = sum(KINDS.values())


@dataclass(frozen=True)
class Round:
    """A site after all films went round."""

    site: Site
    by_store: list[bytes]
    by_stow: list[bytes]

    @property
    def films(self) -> list[bytes]:
        """All."""
        return [*self.by_store, *self.by_stow]

    def results(self, films: list[bytes]) -> dict[str, str]:
        """SOP Class by SOP Instance UID of all DICOM results of films, by the journal."""
        records = self.site.gateway.records()
        objects = [o for film in films for o in records[uid_of(film)].objects if o.sop_class_uid]
        return {o.uid: o.sop_class_uid for o in objects}


@pytest.fixture(scope="module")
def round_(film_count: int, backends: Suite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Round]:
    """Sends all films, and waits until all results are confirmed and everything that was sent back has come."""
    half = film_count // 2
    by_store, by_stow = draw(half, 1000), draw(film_count - half, 2000)
    with open_site(tmp_path_factory.mktemp("site"), backends) as site:
        started = time.monotonic()
        site.store(by_store)
        site.stow(by_stow)
        taken = time.monotonic()
        site.gateway.settle(film_count)
        delivered = site.confirmed()
        ended = time.monotonic()
        back = sum(delivered.values())
        wait_until("all results came back", lambda: site.fates()["dropped"] >= back)
        COUNTS.append(
            f"{half} films by C-STORE and {film_count - half} by STOW-RS: taken in {taken - started:.1f} s; "
            f"{delivered} objects delivered and confirmed in {ended - started:.1f} s; gateway's fates {site.fates()}"
        )
        yield Round(site, by_store, by_stow)


def found_by_find(orthanc: Orthanc, studies: set[str]) -> Counter[str]:
    """SOP Instance UIDs that C-FIND finds in studies, by how often."""
    ae = AE("VIDI")  # the archive answers those that it knows
    ae.add_requested_context(STUDY_ROOT_FIND)
    association = ae.associate("127.0.0.1", orthanc.dicom_port, ae_title="ARCHIVE")
    assert association.is_established

    def find(level: str, want: str, **keys: str) -> list[str]:
        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword, value in (keys | {want: ""}).items():
            setattr(query, keyword, value)
        answers = [(s.Status, ds) for s, ds in association.send_c_find(query, STUDY_ROOT_FIND)]
        assert answers[-1][0] == 0
        return [str(ds[want].value) for _, ds in answers[:-1] if ds is not None]

    try:
        found: Counter[str] = Counter()
        for study in studies:
            for series in find("SERIES", "SeriesInstanceUID", StudyInstanceUID=study):
                found.update(find("IMAGE", "SOPInstanceUID", StudyInstanceUID=study, SeriesInstanceUID=series))
        return found
    finally:
        association.release()


def found_by_qido(orthanc: Orthanc, studies: set[str]) -> Counter[str]:
    """SOP Instance UIDs that QIDO-RS finds in studies, by how often."""
    session = Session()
    session.auth = (USER, PASSWORD)
    session.trust_env = False
    client = DICOMwebClient(orthanc.web, session=session)
    return Counter(
        str(found["00080018"]["Value"][0]) for study in studies for found in client.search_for_instances(study)
    )


def studies_of(films: list[bytes]) -> set[str]:
    return {str(header_of(film).StudyInstanceUID) for film in films}


def test_every_film_is_done_once_and_came_the_way_it_was_sent(round_: Round) -> None:
    records = round_.site.gateway.records()
    assert len(records) == len(round_.films)
    assert {r.state.value for r in records.values()} == {"done"}
    for films, way in ((round_.by_store, "dimse:SOURCE@127.0.0.1"), (round_.by_stow, "stow:127.0.0.1")):
        assert {records[uid_of(film)].film.source for film in films} == {way}
    for film in round_.films:
        kinds = Counter(o.kind for o in records[uid_of(film)].objects if o.kind != "png")
        assert kinds == Counter(KINDS)


def test_every_result_is_found_by_c_find_and_by_qido_exactly_once(round_: Round) -> None:
    site = round_.site
    for orthanc, films in ((site.archive, round_.films), (site.web, round_.by_stow)):
        expected = Counter(round_.results(films).keys())
        assert len(expected) == OF_A_FILM * len(films)
        studies = studies_of(films)
        assert found_by_find(orthanc, studies) == expected
        assert found_by_qido(orthanc, studies) == expected
        assert orthanc.uids() == set(expected), "and nothing else is there"


def test_all_are_confirmed_by_storage_commitment_or_qido_at_the_first_attempt(round_: Round) -> None:
    with round_.site.gateway.journal.database.read() as c:
        rows = c.execute(sa.select(outbox)).mappings().all()
    assert {r["state"] for r in rows} == {"confirmed"}
    assert {r["attempts"] for r in rows} == {1}
    assert {r["denials"] for r in rows} == {0}
    to_archive = [r for r in rows if r["destination"] == "archive"]
    to_web = [r for r in rows if r["destination"] == "web"]
    assert len(to_archive) == OF_A_FILM * len(round_.films)
    assert len(to_web) == OF_A_FILM * len(round_.by_stow) and len(rows) == len(to_archive) + len(to_web)
    # Nothing else than the answer to this transaction confirms what is to be confirmed by commitment.
    assert all(r["commit_transaction"] for r in to_archive) and not any(r["commit_transaction"] for r in to_web)
    assert "NO_REPORT" not in round_.site.gateway.log


def test_every_result_as_the_archive_has_it_conforms(round_: Round, tmp_path: Path) -> None:
    tool = Path(sys.executable).parent / "dciodvfy"
    path, checked = tmp_path / "object.dcm", Counter[str]()
    for orthanc in (round_.site.archive, round_.site.web):
        with httpx.Client(base_url=orthanc.http, auth=(USER, PASSWORD), timeout=60, trust_env=False) as client:
            for instance in client.get("/instances").json():
                path.write_bytes(client.get(f"/instances/{instance}/file").content)
                done = subprocess.run([tool, "-new", path], capture_output=True, text=True, check=False, timeout=60)
                lines = (done.stdout + done.stderr).splitlines()
                assert not [line for line in lines if line.startswith("Error")] and done.returncode == 0, lines
                assert lines, "it names the IOD at least"
                checked[orthanc.http] += 1
    assert sum(checked.values()) == OF_A_FILM * (len(round_.films) + len(round_.by_stow))
    COUNTS.append(f"dciodvfy -new: {sum(checked.values())} objects as the archives have them, 0 errors")


def state(site: Site) -> Any:
    """Everything that would change if anything new were made."""
    records = site.gateway.records()
    made = {uid: (r.state.value, [o.uid for o in r.objects]) for uid, r in records.items()}
    return made, site.gateway.outbox.counts(), site.archive.uids() - set(made), site.web.uids() - set(made)


def test_what_is_sent_back_makes_nothing_new(round_: Round) -> None:
    """Runs last: the archives get the films as well, and send those back too."""
    site = round_.site
    films, stows = len(round_.films), len(round_.by_stow)
    back = OF_A_FILM * (films + stows)
    fates = site.fates()
    assert (fates["kept"], fates["dropped"]) == (films, back), "each result came back once, and was dropped"
    assert sum(fates.values()) == films + back
    before = state(site)

    put(site.archive, round_.films)  # as in most hospitals: films and results in one archive, which forwards both
    put(site.web, round_.by_stow)
    wait_until("the films came back", lambda: sum(site.fates().values()) >= films + back + films + stows)
    # Results once more, by an operator's hand.
    results = list(site.archive.call("/instances"))
    done = post(site.archive, "/modalities/VIDI/store", {"Resources": results, "Synchronous": True})
    assert (done["InstancesCount"], done["FailedInstancesCount"]) == (films + OF_A_FILM * films, 0)
    site.gateway.settle(films)
    time.sleep(4)  # settle time of studies and a sweep: what would be made, would be made by now
    site.gateway.settle(films)

    fates = site.fates()
    assert fates["kept"] == films and fates["dropped"] == back + OF_A_FILM * films
    assert fates["duplicate"] + fates["comparing"] == films + stows + films
    assert state(site) == before
    COUNTS.append(
        f"sent back: {fates['dropped']} own objects dropped, {films + stows + films} films known; nothing new"
    )
