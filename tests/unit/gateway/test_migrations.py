"""The tables that migrations make are the tables that the code describes, and journals of older versions come along."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from vidi.errors import PreconditionFailed
from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal
from vidi_gateway.store.migrations import migrate
from vidi_gateway.store.migrations.versions import m0001_baseline
from vidi_gateway.store.records import FilmState
from vidi_gateway.store.schema import metadata


def test_migrated_tables_are_the_described_ones(untouched: Database) -> None:
    untouched.create_schema()
    untouched.create_schema()
    with untouched.write() as c:
        assert compare_metadata(MigrationContext.configure(c, opts={"compare_server_default": False}), metadata) == []


def test_a_journal_without_a_version_comes_along(untouched: Database) -> None:
    with untouched.write() as c:
        migrate(c, m0001_baseline.revision)
        c.execute(sa.text("DROP TABLE alembic_version"))
        columns = "film_id, sop_instance_uid, sop_class_uid, file_key, file_digest, file_bytes, pixel_digest, "
        columns += "identity_digest, state, reason_code, reason, model, source, revision, received_at, updated_at"
        values = "'f1', '1.2', '1.3', 'films/a.dcm', 'sha256:0', 1, '', '', 'done', '', '', 'm', 'api', 1, 0, 0"
        c.execute(sa.text(f"INSERT INTO films ({columns}) VALUES ({values})"))
    untouched.create_schema()
    film = Journal(untouched).film("f1")
    assert film.state is FilmState.DONE and film.study_key == "" and film.withdrawn_at is None and film.mode == "live"


def test_a_newer_journal_is_left_alone(untouched: Database) -> None:
    untouched.create_schema()
    with untouched.write() as c:
        c.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PreconditionFailed) as caught:
        untouched.create_schema()
    assert caught.value.reason == "JOURNAL_NEWER"
