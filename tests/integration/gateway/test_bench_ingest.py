"""`vidi bench ingest` as a user runs it, with few and small films: the contract of its JSON, not its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_object_with_both_receivers(tmp_path: Path) -> None:
    line = [sys.executable, "-c", "from vidi.cli import main; main()", "bench", "ingest", "--json"]
    line += ["--films", "8", "--pairs", "2", "--sides", "128,256", "--directory", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (text,) = done.stdout.splitlines()
    outcome = json.loads(text)
    assert outcome["name"] == "ingest" and outcome["machine"]["cores"]
    for suffix in ("", "_8"):
        assert outcome[f"films_per_second{suffix}"] > 0 and outcome[f"ratio_vs_orthanc{suffix}"] > 0
        assert len(outcome[f"details{suffix}"]["ratios"]) == 2
    # A round to warm up and two that count, at 1 and at 8 associations.
    assert outcome["films_there_afterwards"] == {"vidi": 48, "orthanc": 48}
    receivers = outcome["config"]["receivers"]
    assert "fsync" in receivers["vidi"]["guarantee"] and "SyncStorageArea" in receivers["orthanc"]["guarantee"]
    assert outcome["disk"]["fsync_4mib_ms"] > 0
    assert list(tmp_path.iterdir()) == [], "nothing is left on the disk"


def test_fewer_films_than_associations_is_a_usage_error(tmp_path: Path) -> None:
    line = [sys.executable, "-c", "from vidi.cli import main; main()", "bench", "ingest", "--films", "3"]
    assert subprocess.run(line, capture_output=True, timeout=120, check=False).returncode == 2
