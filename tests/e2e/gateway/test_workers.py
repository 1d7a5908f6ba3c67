"""One front and two workers on PostgreSQL: a worker that is killed comes back to its own films."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from vidi_gateway.dimse.receiver import Receiver

# Processes are started and killed: minutes on a machine that does much else.
pytestmark = pytest.mark.timeout(1800)


def test_a_front_and_two_workers_share_films(
    launch: Callable[..., Any],
    receiver: Receiver,
    phantoms: list[bytes],
    postgres: str,
    wait: Callable[..., None],
) -> None:
    shared = {"VIDI_DATABASE_URL": postgres, "VIDI_CONCURRENCY": "1"}
    front = launch(VIDI_ROLE="front", VIDI_EXECUTOR_ID="front", **shared)
    assert all(s.status == 0 for s in front.send(*phantoms[:8]))
    assert front.states() == {"received": 8}, "a front processes nothing"
    destination = ("pacs", receiver.port)
    workers = [launch(destination, service="worker", VIDI_EXECUTOR_ID=f"worker-{i}", **shared) for i in range(2)]
    wait("some are done", lambda: front.states().get("done", 0) >= 2)
    workers[0].kill()
    workers[0].start()
    front.settle(8)
    assert front.states() == {"done": 8}
    expected = {o.uid for r in front.records().values() for o in r.objects if o.kind in ("sr", "sc")}
    assert len(expected) == 16 and set(receiver.files) == expected
    assert len({(r.sop_instance_uid, r.digest) for r in receiver.received}) == 16
    engine = sa.create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        owners = set(connection.execute(sa.text("SELECT DISTINCT executor_id FROM dbos.workflow_status")).scalars())
    engine.dispose()
    assert owners == {"worker-0", "worker-1"}
