"""The command line, as a program that reads its JSON and exit codes sees it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data_store
import numpy as np
import pydicom
import pytest
from PIL import Image

from vidi.imaging.dicom import decode_dicom
from vidi.phantoms import PhantomSpec, make, to_dicom

if TYPE_CHECKING:
    from tests.e2e.conftest import Live

REAL = Path(next(iter(data_store.__path__))) / "data"
DONE_KEYS = {
    "input",
    "status",
    "reason",
    "model",
    "prediction",
    "probabilities",
    "additivity_residual",
    "cache_hit",
    "results",
    "overlay",
}


def vidi(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "vidi.cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good films and bad ones, side by side; none that another test sends."""
    root = tmp_path_factory.mktemp("films")
    films = [to_dicom(make(PhantomSpec(seed=200 + s, severity="medium", height=256, width=256))) for s in range(6)]
    for i, film in enumerate(films[:3]):
        (root / f"phantom-{i}.dcm").write_bytes(film)
    buffer = io.BytesIO()
    Image.fromarray((decode_dicom(films[3]).pixels * 255).astype(np.uint8)).save(buffer, "PNG")
    (root / "picture.png").write_bytes(buffer.getvalue())
    (root / "letter.txt").write_text("Dear colleague, this is no film.")
    (root / "truncated.dcm").write_bytes(films[4][: len(films[4]) // 2])
    lateral = pydicom.dcmread(io.BytesIO(films[5]))
    lateral.ViewPosition = "LL"
    lateral.SOPInstanceUID = lateral.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    lateral.save_as(root / "lateral.dcm")
    (root / "ct.dcm").write_bytes(Path(str(pydicom.data.get_testdata_file("CT_small.dcm"))).read_bytes())
    return root


@pytest.fixture(scope="module")
def processed(live: Live, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, list[dict[str, Any]]]:
    """What `vidi process --json` says of all of them, and its exit code."""
    output = tmp_path_factory.mktemp("results")
    model = ("--model", "tiny-pneumonia")
    ran = vidi(
        "process", folder, folder / "letter.txt", "--output", output, *model, "--server", live.suite.gateway, "--json"
    )
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()]


def lines(processed: tuple[int, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The lines of the films by file name."""
    return {Path(line["input"]).name: line for line in processed[1][:-1]}


def test_every_input_has_its_line(processed: tuple[int, list[dict[str, Any]]], folder: Path) -> None:
    assert set(lines(processed)) == {p.name for p in folder.iterdir()}


def test_good_films_are_done(processed: tuple[int, list[dict[str, Any]]]) -> None:
    for name in ("phantom-0.dcm", "phantom-1.dcm", "phantom-2.dcm", "picture.png"):
        line = lines(processed)[name]
        assert line["status"] == "done", line
        assert set(line) >= DONE_KEYS
        assert line["prediction"] == max(line["probabilities"], key=line["probabilities"].get)
        assert len(line["results"]) == 6  # SR, Secondary Capture, two classes times two signs
        for path in line["results"]:
            pydicom.dcmread(path)
        with Image.open(line["overlay"]) as picture:
            picture.load()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("letter.txt", "UNREADABLE_IMAGE"),
        ("truncated.dcm", "UNREADABLE_IMAGE"),
        ("lateral.dcm", "VIEW_LATERAL"),
        ("ct.dcm", "MODALITY"),
    ],
)
def test_bad_films_are_refused_with_a_code(processed: tuple[int, list[dict[str, Any]]], name: str, code: str) -> None:
    line = lines(processed)[name]
    assert line["status"] == "refused", line
    assert line["reason"].startswith(f"{code}: ")
    assert "prediction" not in line


def test_the_summary_counts_and_the_exit_code_tells(processed: tuple[int, list[dict[str, Any]]]) -> None:
    code, said = processed
    summary = said[-1]["summary"]
    assert code == 3
    assert (summary["films"], summary["done"], summary["refused"], summary["failed"]) == (8, 4, 4, 0)
    clustering = json.loads(Path(summary["clustering"]).read_text())
    assert len(clustering["clustering"]["members"]) == 4
    assert "Not for diagnosis" in Path(summary["report"]).read_text()


def test_an_unknown_model_is_one_readable_line(live: Live, folder: Path, tmp_path: Path) -> None:
    ran = vidi("process", folder, "--output", tmp_path, "--model", "nope", "--server", live.suite.gateway)
    assert ran.returncode == 1
    assert "nope" in ran.stderr
    assert "tiny-severity" in ran.stderr  # says what there is
    assert "Traceback" not in ran.stderr


def test_no_server_is_one_readable_line(folder: Path) -> None:
    ran = vidi("classify", folder / "phantom-0.dcm", "--server", "127.0.0.1:9")
    assert ran.returncode == 1
    assert "127.0.0.1:9" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_usage_errors_exit_with_2(tmp_path: Path) -> None:
    assert vidi("process", tmp_path / "missing.dcm", "--output", tmp_path).returncode == 2
    assert vidi("frobnicate").returncode == 2


def test_classify_explain_and_cluster_call_a_running_suite(live: Live, folder: Path, tmp_path: Path) -> None:
    server = ("--server", live.suite.gateway, "--model", "tiny-severity", "--json")
    films = [folder / f"phantom-{i}.dcm" for i in range(3)]
    classified = vidi("classify", *films, *server)
    assert classified.returncode == 0, classified.stderr
    answers = [json.loads(line) for line in classified.stdout.splitlines()]
    assert all(sum(a["probabilities"].values()) == pytest.approx(1, abs=1e-6) for a in answers)
    explained = vidi("explain", *films, "--output", tmp_path, *server)
    assert explained.returncode == 0, explained.stderr
    answer = json.loads(explained.stdout.splitlines()[0])
    with np.load(answer["maps"], allow_pickle=False) as maps:
        for name, favorable in answer["favorable"].items():
            total = maps[f"map_{name}"].astype(np.float64).sum()
            assert total == pytest.approx(favorable + answer["glum"][name], rel=1e-5, abs=1e-6)
    clustered = vidi("cluster", *films, "--k", "2", *server)
    assert clustered.returncode == 0, clustered.stderr
    clustering = json.loads(clustered.stdout)
    assert clustering["k"] == 2
    assert sorted(clustering["films"].values()) == sorted(map(str, films))


def test_the_quality_of_an_explanation(live: Live, folder: Path, tmp_path: Path) -> None:
    server = ("--server", live.suite.gateway, "--model", "tiny-severity", "--quality")
    film = folder / "phantom-0.dcm"
    told = vidi("explain", film, *server, "--json", "--output", tmp_path, "--seed", "3")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert Path(answer["maps"]).is_file()
    quality = answer["quality"]
    assert (quality["seed"], quality["model"]["name"]) == (3, "tiny-severity")
    assert {"additivity", "deletion_insertion", "repeatability"} <= set(quality["measures"])
    assert [output["name"] for output in quality["outputs"]] == ["mild", "medium", "severe"]
    assert len(quality["outputs"][0]["deletion_insertion"]["deletion"]["values"]) == quality["steps"] + 1
    shown = vidi("explain", film, folder / "letter.txt", *server)
    assert shown.returncode == 3, shown.stderr
    assert "additivity residual" in shown.stdout
    assert "moved 2 px, smoothed 4 px" in shown.stdout
    assert "letter.txt: refused" in shown.stdout
    assert vidi("explain", film, "--server", live.suite.gateway).returncode == 2


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from vidi.cli import build; build(); "
        "heavy = {'torch', 'faiss', 'shap', 'pydicom', 'sklearn', 'grpc', 'dbos'} & set(sys.modules); "
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


def test_four_transfer_syntaxes_of_one_film_agree(live: Live) -> None:
    """The real film of pydicom-data, uncompressed in two ways and as JPEG 2000 lossless and lossy."""
    films = [REAL / f"RG1_{name}.dcm" for name in ("UNCR", "UNCI", "J2KR", "J2KI")]
    ran = vidi("classify", *films, "--server", live.suite.gateway, "--model", "tiny-pneumonia", "--json")
    assert ran.returncode == 0, ran.stderr
    probabilities = [json.loads(line)["probabilities"]["pneumonia"] for line in ran.stdout.splitlines()]
    assert max(probabilities) - min(probabilities) <= 1e-3
