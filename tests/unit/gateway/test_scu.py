"""What a C-STORE status means, and how long to wait."""

from __future__ import annotations

import pytest

from vidi_gateway.dimse.scu import Outcome, judge
from vidi_gateway.pipeline.steps import backoff


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, Outcome.SENT),
        (0xB000, Outcome.SENT),
        (0xB007, Outcome.SENT),
        (0x0111, Outcome.SENT),
        (0x0110, Outcome.RETRY),
        (0xA700, Outcome.RETRY),
        (0xA701, Outcome.RETRY),
        (0xA900, Outcome.PERMANENT),
        (0xC000, Outcome.PERMANENT),
        (0xC211, Outcome.PERMANENT),
        (0x0122, Outcome.PERMANENT),
        (0x0124, Outcome.PERMANENT),
        (0xFE00, Outcome.RETRY),
        (0x0001, Outcome.RETRY),
    ],
)
def test_statuses(status: int, outcome: Outcome) -> None:
    assert judge(status) is outcome


def test_backoff_grows_jitters_and_is_capped() -> None:
    for attempt in (0, 3, 10, 5000):
        waits = {backoff(attempt, base=1.0, cap=60.0) for _ in range(50)}
        ceiling = min(60.0, 2.0**attempt) if attempt < 30 else 60.0
        assert all(ceiling / 2 <= w <= ceiling for w in waits)
        assert len(waits) > 1
    assert backoff(0, base=1.0, cap=60.0, at_least=30.0) == 30.0
    assert backoff(0, base=1.0, cap=60.0, at_least=3600.0) == 60.0
