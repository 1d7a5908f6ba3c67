"""The relay: carries audit records from the journal to the file and the repository. What is down gets them later.

It has a thread of its own, since a repository that hangs must hold up nothing else. A record is marked when it has been
everywhere; after a crash the last batch may come twice. Of several processes one relays.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from vidi import logs
from vidi_gateway.audit.files import AuditFile
from vidi_gateway.audit.messages import moment, to_json, to_xml
from vidi_gateway.audit.settings import RecordSettings, syslog_address
from vidi_gateway.audit.syslog import Syslog
from vidi_gateway.pipeline import metrics
from vidi_gateway.store.audit import Audit, AuditRecord
from vidi_gateway.store.leases import Lease

BATCH = 500
#: Records by which one target may be ahead of one that is down; then it waits too, and the journal keeps them all.
AHEAD = 20_000
POLL = 1.0
#: Longest pause between two attempts at a target that is down.
LONGEST_PAUSE = 60.0
CLOSE_SECONDS = 5.0

log = logs.get("vidi.gateway.audit")


class Target(Protocol):
    """Where records go."""

    def send(self, records: Sequence[AuditRecord]) -> None:
        """Send records in order.

        Raises
        ------
        OSError
            When the target does not take them.
        """

    def close(self) -> None:
        """Let go of connections."""


class FileTarget:
    """The audit file."""

    def __init__(self, file: AuditFile, write: Callable[[AuditRecord], str]) -> None:
        self._file = file
        self._write = write

    def send(self, records: Sequence[AuditRecord]) -> None:
        """See `Target.send`."""
        self._file.send([self._write(r) for r in records])

    def close(self) -> None:
        """See `Target.close`."""
        self._file.close()


class SyslogTarget:
    """The audit record repository."""

    def __init__(self, syslog: Syslog, write: Callable[[AuditRecord], str]) -> None:
        self._syslog = syslog
        self._write = write

    def send(self, records: Sequence[AuditRecord]) -> None:
        """See `Target.send`."""
        self._syslog.send([(moment(r.at), self._write(r)) for r in records])

    def close(self) -> None:
        """See `Target.close`."""
        self._syslog.close()


def targets_of(settings: RecordSettings, source_id: str) -> dict[str, Target]:
    """Return the targets that the settings name. `source_id` is this node's name in the records."""

    def xml(record: AuditRecord) -> str:
        return to_xml(record, source_id=source_id, site_id=settings.audit_site_id)

    def line(record: AuditRecord) -> str:
        return to_json(record, source_id=source_id, site_id=settings.audit_site_id)

    targets: dict[str, Target] = {}
    if settings.audit_file:
        file = AuditFile(settings.audit_file, max_bytes=settings.audit_file_bytes, keep=settings.audit_file_keep)
        targets["file"] = FileTarget(file, xml if settings.audit_file_format == "xml" else line)
    if settings.audit_syslog:
        transport, host, port = syslog_address(settings.audit_syslog)
        targets["syslog"] = SyslogTarget(Syslog(transport, host, port, tls=settings.syslog_tls), xml)
    return targets


class Relay:
    """Carries records in a thread.

    Parameters
    ----------
    audit
        The trail.
    targets
        By name.
    lease
        Held while relaying; None: this is the only process.
    """

    def __init__(self, audit: Audit, targets: dict[str, Target], lease: Lease | None = None) -> None:
        self._audit = audit
        self._targets = targets
        self._lease = lease
        #: Records that a target has, and that are not marked since another target lacks them.
        self._has: dict[str, set[int]] = {name: set() for name in targets}
        self._pauses = dict.fromkeys(targets, 0.0)
        self._waits = dict.fromkeys(targets, 0.0)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vidi-audit-relay", daemon=True)

    def start(self) -> None:
        """Start relaying."""
        self._thread.start()

    def close(self) -> None:
        """Relay what there is, then stop; a target that hangs is left, and gets the rest at the next start."""
        self._ending.set()
        self._thread.join(CLOSE_SECONDS)

    def relay_once(self) -> int:
        """Carry the oldest records to every target that lacks them; returns how many have been everywhere since.

        A target that is down is left alone for a while, longer each time.
        """
        pending = self._audit.unexported(AHEAD if any(self._has.values()) else BATCH)
        metrics.AUDIT_UNEXPORTED.set(len(pending))
        if not pending:
            return 0
        if self._lease is not None and not self._lease.hold():
            return 0
        for name, target in self._targets.items():
            lacking = [r for r in pending if r.id not in self._has[name]][:BATCH]
            if not lacking or self._waits[name] > 0:
                continue
            try:
                target.send(lacking)
            except (OSError, ValueError) as e:
                self._pauses[name] = self._waits[name] = min(LONGEST_PAUSE, max(POLL, 2 * self._pauses[name]))
                metrics.AUDIT_RELAY_FAILURES.labels(name).inc()
                log.warning("audit records wait", target=name, error=type(e).__name__, records=len(pending))
            else:
                self._pauses[name] = 0.0
                self._has[name].update(r.id for r in lacking)
        everywhere = [r.id for r in pending if all(r.id in has for has in self._has.values())]
        if everywhere:
            self._audit.mark_exported(everywhere)
            for has in self._has.values():
                has.difference_update(everywhere)
        return len(everywhere)

    def _run(self) -> None:
        while not self._ending.is_set():
            if not self._attempt():
                self._ending.wait(POLL)
                self._waits = {name: wait - POLL for name, wait in self._waits.items()}
        while self._attempt():
            pass
        for target in self._targets.values():
            target.close()
        if self._lease is not None:
            with contextlib.suppress(Exception):  # the journal is away: the lease ends by itself
                self._lease.release()

    def _attempt(self) -> int:
        try:
            return self.relay_once()
        except Exception as e:  # noqa: BLE001 - the thread outlives databases that come back
            log.error("audit relay failed", error=type(e).__name__)
            return 0


def relay_of(settings: RecordSettings, audit: Audit, source_id: str, *, shared: bool) -> Relay | None:
    """Return the relay that the settings ask for, None where they ask for none.

    Parameters
    ----------
    settings
        Where to.
    audit
        The trail.
    source_id
        Name of this node in the records.
    shared
        Whether other processes may relay the same trail.
    """
    targets = targets_of(settings, source_id)
    if not targets:
        return None
    return Relay(audit, targets, Lease(audit.database, "audit relay", secrets.token_hex(8)) if shared else None)
