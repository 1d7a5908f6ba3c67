"""A circuit breaker: what failed a few times in a row is left alone, so that no call pays for its time-out again."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Closed (calls pass) until `failures` failures in a row; then open, with one probe after each pause.

    Parameters
    ----------
    failures
        Failures in a row that open it, at least 1.
    pause
        Seconds until the first probe, more than 0; doubled after each failed probe.
    longest
        Longest pause in seconds.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        *,
        failures: int = 3,
        pause: float = 2.0,
        longest: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._first_pause = pause
        self._longest = longest
        self._clock = clock
        self._failed = 0
        self._pause = pause
        self._probe_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are held back."""
        return self._probe_at is not None

    def allows(self) -> bool:
        """Whether a call may go through now; of an open breaker, one probe in each pause."""
        if self._probe_at is None:
            return True
        now = self._clock()
        if now < self._probe_at:
            return False
        # Moved on at once: of many waiting calls one probes, and a probe that is cancelled blocks nothing.
        self._probe_at = now + self._pause
        return True

    def succeeded(self) -> None:
        """Report success: closes the breaker."""
        self._failed = 0
        self._pause = self._first_pause
        self._probe_at = None

    def failed(self) -> None:
        """Report a failure: may open the breaker, or lengthen the pause."""
        self._failed += 1
        if self._probe_at is not None:
            self._pause = min(self._pause * 2, self._longest)
            self._probe_at = self._clock() + self._pause
        elif self._failed >= self._limit:
            self._probe_at = self._clock() + self._pause
