"""Putting the gateway together."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pydicom.config

from vidi.errors import PreconditionFailed, Unavailable
from vidi.imaging.sandbox import DecodeSandbox
from vidi_gateway.audit.running import recorded
from vidi_gateway.clients import Services
from vidi_gateway.dimse.commitment import Commitment
from vidi_gateway.dimse.scp import Node
from vidi_gateway.export.sandbox import ExportSandbox
from vidi_gateway.handlers.films import Films
from vidi_gateway.handlers.rules import check_models
from vidi_gateway.pipeline.changes import Changes
from vidi_gateway.pipeline.collector import JournalCollector, collected
from vidi_gateway.pipeline.compare import Comparer
from vidi_gateway.pipeline.confirmation import Confirmation, obey
from vidi_gateway.pipeline.decoder import Decoder
from vidi_gateway.pipeline.delivery import Delivery
from vidi_gateway.pipeline.feeder import Feeder
from vidi_gateway.pipeline.intake import Intake
from vidi_gateway.pipeline.overview import Overviews
from vidi_gateway.pipeline.publisher import Publisher
from vidi_gateway.pipeline.retention import Sweeper
from vidi_gateway.pipeline.steps import Steps
from vidi_gateway.pipeline.workers import Heartbeat
from vidi_gateway.pipeline.workflow import Workflows
from vidi_gateway.rules import Rules
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.store.activity import Activity
from vidi_gateway.store.arrivals import Arrivals
from vidi_gateway.store.audit import Audit
from vidi_gateway.store.controls import Controls
from vidi_gateway.store.database import Database
from vidi_gateway.store.files import FileStore
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.lifecycle import Lifecycle
from vidi_gateway.store.outbox import Outbox
from vidi_gateway.store.retention import Retention
from vidi_gateway.store.site_key import SiteKey
from vidi_gateway.store.studies import Studies
from vidi_gateway.store.workers import Workers
from vidi_gateway.threads import Threads


@dataclass
class Gateway:
    """The parts that a transport needs.

    Attributes
    ----------
    settings
        As given.
    films
        The application layer: films in, results out.
    rules
        Of the site.
    journal, arrivals, lifecycle, outbox, audit
        The journal's tables.
    controls
        The operators' switches.
    overviews
        How it is doing.
    store
        Films and results.
    site_key
        Makes film ids and other keyed digests.
    services
        Classifier and explainer.
    changes
        What watchers hear.
    threads
        For everything that blocks.
    exporter
        De-identifies films.
    node
        The DICOM node; None where this process has none.
    endpoints
        Addresses other than gRPC, by name.
    """

    settings: GatewaySettings
    rules: Rules
    films: Films
    journal: Journal
    arrivals: Arrivals
    lifecycle: Lifecycle
    outbox: Outbox
    audit: Audit
    controls: Controls
    overviews: Overviews
    store: FileStore
    site_key: SiteKey
    services: Services
    changes: Changes
    threads: Threads
    exporter: ExportSandbox
    node: Node | None = None
    endpoints: dict[str, str] = field(default_factory=dict)

    def drain(self) -> None:
        """Stop taking films; what was acknowledged is durable."""
        if self.node:
            self.node.close()


@asynccontextmanager
async def gateway(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """Open a gateway, a worker, or both in one, by `settings.role`.

    Raises
    ------
    InvalidInput
        RULES_INVALID: something is wrong with the site's rules; the message says what.
    PreconditionFailed
        Another process uses the data directory (SQLite only).
    Unavailable
        A port is taken.
    """
    # pydicom's warnings quote values, and values are patient data; validity is judged where it matters.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        if settings.embedded_database:
            stack.enter_context(_alone(settings.data_dir / "gateway.lock"))
        threads = Threads("io", 8 + settings.concurrency)
        stack.callback(threads.close)
        database = Database(settings.journal_url)
        stack.callback(database.close)
        await threads.run(database.create_schema)
        site_key = await threads.run(SiteKey.open, settings.site_key_path)
        journal, audit = Journal(database, settings.settle_seconds), Audit(database, site_key)
        await stack.enter_async_context(recorded(settings, audit, threads))
        lifecycle = Lifecycle(journal, settings.settle_seconds)
        rules = await threads.run(Rules.load, settings.rules_file, settings)
        arrivals = Arrivals(journal)
        outbox = Outbox(
            database,
            settings.worker_id,
            confirm_attempts=settings.confirm_attempts,
            resend_cap=settings.delivery_cap_seconds,
            audit=audit,
        )
        store = FileStore(settings.data_dir / "files")
        await threads.run(store.prepare, "films")
        services = Services(settings)
        stack.push_async_callback(services.close)
        await check_models(rules, services)
        controls, overviews = Controls(database, audit), Overviews(settings, Activity(database), store)
        stack.enter_context(collected(JournalCollector(overviews, controls)))
        changes = Changes(journal, threads)
        stack.push_async_callback(changes.close)
        intake = Intake(
            settings,
            rules=rules,
            journal=journal,
            arrivals=arrivals,
            lifecycle=lifecycle,
            audit=audit,
            store=store,
            site_key=site_key,
            on_change=changes.notify,
        )
        films = Films(
            default_model=settings.default_model,
            intake=intake,
            journal=journal,
            arrivals=arrivals,
            outbox=outbox,
            store=store,
            services=services,
            changes=changes,
            threads=threads,
            audit=audit,
        )
        opened = Gateway(
            settings=settings,
            rules=rules,
            films=films,
            journal=journal,
            arrivals=arrivals,
            lifecycle=lifecycle,
            outbox=outbox,
            audit=audit,
            controls=controls,
            overviews=overviews,
            store=store,
            site_key=site_key,
            services=services,
            changes=changes,
            threads=threads,
            exporter=ExportSandbox(),
        )
        stack.push_async_callback(threads.run, opened.exporter.close)
        if settings.role != "front" and settings.concurrency:
            await stack.enter_async_context(_worker(opened))
        if settings.role != "worker" and max(settings.dimse_port, settings.dimse_tls_port) >= 0:

            def on_commitment(commitment: Commitment) -> None:
                obey(outbox, commitment)
                changes.notify()

            opened.node = Node(settings, intake, audit, on_commitment)
            try:
                opened.node.open()
            except OSError as e:
                ports = [str(p) for p in (settings.dimse_port, settings.dimse_tls_port) if p >= 0]
                where = f"{settings.dimse_host}:{' or '.join(ports)}"
                raise Unavailable(f"the DICOM node cannot listen on {where}: {e.strerror}") from e
            stack.push_async_callback(threads.run, opened.node.close)
            for name, port in (("dimse", opened.node.port), ("dimse_tls", opened.node.tls_port)):
                if port >= 0:
                    opened.endpoints[name] = f"{settings.ae_title}@{settings.dimse_host}:{port}"
        yield opened


@asynccontextmanager
async def _worker(parts: Gateway) -> AsyncIterator[None]:
    """Process and deliver."""
    settings, journal, store, threads = parts.settings, parts.journal, parts.store, parts.threads
    async with AsyncExitStack() as stack:
        sandbox = DecodeSandbox()
        stack.push_async_callback(sandbox.close)
        decoder = Decoder(store, sandbox, threads)
        steps = Steps(
            settings,
            journal=journal,
            store=store,
            services=parts.services,
            decoder=decoder,
            rules=parts.rules,
            site_key=parts.site_key,
            threads=threads,
            on_change=parts.changes.notify,
        )
        workflows = Workflows(settings, steps, journal, threads)
        await workflows.open()
        stack.push_async_callback(workflows.close, settings.drain_seconds)
        heartbeat = Heartbeat(settings, Workers(journal.database), workflows, threads)
        await heartbeat.start()
        stack.push_async_callback(heartbeat.close)
        comparer = Comparer(
            journal,
            parts.arrivals,
            parts.lifecycle,
            parts.rules,
            parts.audit,
            store,
            decoder,
            parts.site_key,
            threads,
            parts.changes.notify,
        )
        feeder = Feeder(settings, journal, workflows, parts.arrivals, comparer, parts.changes, threads)
        feeder.start()
        stack.push_async_callback(feeder.close)
        publisher = Publisher(
            settings,
            studies=Studies(journal, settings.worker_id, patience_seconds=settings.study_patience_seconds),
            lifecycle=parts.lifecycle,
            rules=parts.rules,
            store=store,
            decoder=decoder,
            services=parts.services,
            changes=parts.changes,
            threads=threads,
        )
        await publisher.start()
        stack.push_async_callback(publisher.close)
        delivery = Delivery(settings, parts.outbox, store, parts.changes, threads, parts.controls.delivery_allowed)
        await delivery.start()
        stack.push_async_callback(delivery.close)
        confirmation = Confirmation(settings, parts.outbox, store, parts.changes, threads)
        confirmation.start()
        stack.push_async_callback(confirmation.close)
        sweeper = Sweeper(settings, Retention(journal, parts.audit), parts.audit, store)
        sweeper.start()
        stack.push_async_callback(threads.run, sweeper.close)
        yield


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the data directory: two processes on one SQLite journal would each recover the other's work."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            hint = "give each its own VIDI_DATA_DIR, or a PostgreSQL VIDI_DATABASE_URL"
            message = f"another gateway uses {path.parent}: {hint}"
            raise PreconditionFailed(message, reason="DATA_DIR_IN_USE") from None
        yield
