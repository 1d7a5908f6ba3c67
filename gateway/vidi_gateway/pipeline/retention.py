"""The loop that deletes what is kept no longer: films' bytes, results, audit records. Off unless the site says so."""

from __future__ import annotations

import secrets
import threading
import time

from vidi import logs
from vidi_gateway.audit.settings import RecordSettings
from vidi_gateway.pipeline import metrics
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.files import Store
from vidi_gateway.store.leases import Lease
from vidi_gateway.store.retention import Expired, Retention

DAY = 86_400.0
LEASE_SECONDS = 3600.0
CLOSE_SECONDS = 10.0

log = logs.get("vidi.gateway.retention")


class Sweeper:
    """Sweeps in a thread of its own; of several processes one at a time.

    Parameters
    ----------
    settings
        How many days.
    retention, audit
        What is in the journal.
    store
        Films and results.
    """

    def __init__(self, settings: RecordSettings, retention: Retention, audit: Audit, store: Store) -> None:
        self._settings = settings
        self._retention = retention
        self._audit = audit
        self._store = store
        self._lease = Lease(audit.database, "retention", secrets.token_hex(8), LEASE_SECONDS)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vidi-retention", daemon=True)

    @property
    def active(self) -> bool:
        """Whether anything is ever deleted."""
        days = (self._settings.retention_film_days, self._settings.retention_result_days)
        return any((*days, self._settings.retention_audit_days))

    def start(self) -> None:
        """Start, where there is something to do."""
        if self.active:
            self._thread.start()

    def close(self) -> None:
        """Stop after the study that is being deleted."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def sweep_once(self) -> dict[str, int]:
        """Delete all that is due; returns how many films, films with results, and audit records."""
        if not self._lease.hold():
            return {}
        try:
            counts = {"films": self._films(), "results": self._results(), "audit": self._trail()}
        finally:
            self._lease.release()
        if any(counts.values()):
            log.info("deleted, their time is over", **counts)
        return counts

    def _films(self) -> int:
        count = 0
        self._delete_leftovers()
        if days := self._settings.retention_film_days:
            before, last = time.time() - days * DAY, None
            while found := self._retention.expired_films(before, last):
                for study in found:
                    if self._ending.is_set():
                        return count
                    count += self._retention.purge_films(study.study_key, before)
                self._delete_leftovers()
                last = found[-1]
        return count

    def _delete_leftovers(self) -> None:
        while found := self._retention.leftovers():
            for leftover in found:
                for key in leftover.keys:
                    self._store.delete(key)
            self._retention.deleted([f.film_id for f in found])
            metrics.PURGED.labels("film").inc(len(found))

    def _results(self) -> int:
        count = 0
        last: Expired | None = None
        if days := self._settings.retention_result_days:
            before = time.time() - days * DAY
            while found := self._retention.expired_results(before, last):
                for study in found:
                    if self._ending.is_set():
                        return count
                    keys = self._retention.results_of(study.study_key, before)
                    for key in keys:  # the bytes first: after a crash the rows still say where the rest is
                        self._store.delete(key)
                    if keys:
                        count += self._retention.forget_results(keys)
                        metrics.PURGED.labels("result").inc(len(keys))
                last = found[-1]
        return count

    def _trail(self) -> int:
        count = 0
        if days := self._settings.retention_audit_days:
            before = time.time() - days * DAY
            while not self._ending.is_set() and (some := self._audit.trim(before, relayed=self._settings.relays)):
                count += some
            metrics.PURGED.labels("audit").inc(count)
        return count

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self.sweep_once()
            except Exception as e:  # noqa: BLE001 - the thread outlives databases and disks that come back
                log.error("retention failed", error=type(e).__name__)
            self._ending.wait(self._settings.retention_sweep_seconds)
