"""Bringing a journal's tables up to date (Alembic). A journal is only ever moved forward; back up before an update.

Several processes may start at once: on PostgreSQL an advisory lock lets the first one migrate, on SQLite the journal
has one process only.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from vidi.errors import PreconditionFailed

#: Journals of ViDi 0.1.0 had these tables and no version.
BASELINE = "0001"


def migrate(connection: sa.Connection, revision: str = "head") -> None:
    """Move the tables to a revision inside the caller's transaction: all of it, or nothing.

    Parameters
    ----------
    connection
        To the journal, in a transaction that writes.
    revision
        Alembic revision; "head": the newest.

    Raises
    ------
    PreconditionFailed
        JOURNAL_NEWER: a newer ViDi has moved the tables further than this one knows.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None and sa.inspect(connection).has_table("films"):
        command.stamp(config, BASELINE)
    elif current is not None and current not in known:
        message = f"the journal is at revision {current}, which this version does not know: run the newer version"
        raise PreconditionFailed(message, reason="JOURNAL_NEWER")
    command.upgrade(config, revision)
