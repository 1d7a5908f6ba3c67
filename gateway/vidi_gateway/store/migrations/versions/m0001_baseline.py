"""The tables of ViDi 0.1.0."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move forward."""
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_event"), "audit", ["event"], unique=False)
    op.create_table(
        "cohorts",
        sa.Column("cohort_id", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.String(length=128), nullable=False),
        sa.Column("films", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("cohort_id"),
    )
    op.create_index(op.f("ix_cohorts_created_at"), "cohorts", ["created_at"], unique=False)
    op.create_table(
        "films",
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("file_key", sa.String(length=255), nullable=False),
        sa.Column("file_digest", sa.String(length=71), nullable=False),
        sa.Column("file_bytes", sa.BigInteger(), nullable=False),
        sa.Column("pixel_digest", sa.String(length=71), nullable=False),
        sa.Column("identity_digest", sa.String(length=71), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason_code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("film_id"),
    )
    op.create_index(op.f("ix_films_received_at"), "films", ["received_at"], unique=False)
    op.create_index(op.f("ix_films_sop_instance_uid"), "films", ["sop_instance_uid"], unique=False)
    op.create_index(op.f("ix_films_state"), "films", ["state"], unique=False)
    op.create_index(op.f("ix_films_updated_at"), "films", ["updated_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("model_digest", sa.String(length=71), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index(op.f("ix_jobs_created_at"), "jobs", ["created_at"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt", sa.Double(), nullable=False),
        sa.Column("claimed_by", sa.String(length=64), nullable=False),
        sa.Column("claimed_until", sa.Double(), nullable=False),
        sa.Column("last_error", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", "destination"),
    )
    op.create_index(op.f("ix_outbox_film_id"), "outbox", ["film_id"], unique=False)
    op.create_index("outbox_due", "outbox", ["destination", "state", "next_attempt"], unique=False)
    op.create_table(
        "analyses",
        sa.Column("analysis_id", sa.String(length=200), nullable=False),
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("model_digest", sa.String(length=71), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason_code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("waits", sa.Integer(), nullable=False),
        sa.Column("enqueued_at", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("outcome_key", sa.String(length=255), nullable=False),
        sa.Column("outcome_digest", sa.String(length=71), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["film_id"],
            ["films.film_id"],
        ),
        sa.PrimaryKeyConstraint("analysis_id"),
        sa.UniqueConstraint("film_id", "model"),
    )
    op.create_index(op.f("ix_analyses_film_id"), "analyses", ["film_id"], unique=False)
    op.create_index(op.f("ix_analyses_state"), "analyses", ["state"], unique=False)
    op.create_table(
        "arrivals",
        sa.Column("arrival_id", sa.String(length=64), nullable=False),
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("file_key", sa.String(length=255), nullable=False),
        sa.Column("file_digest", sa.String(length=71), nullable=False),
        sa.Column("file_bytes", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["film_id"],
            ["films.film_id"],
        ),
        sa.PrimaryKeyConstraint("arrival_id"),
    )
    op.create_index(op.f("ix_arrivals_film_id"), "arrivals", ["film_id"], unique=False)
    op.create_index(op.f("ix_arrivals_verdict"), "arrivals", ["verdict"], unique=False)
    op.create_table(
        "cohort_clusterings",
        sa.Column("cohort_id", sa.String(length=64), nullable=False),
        sa.Column("clustering_id", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.cohort_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("cohort_id", "clustering_id"),
    )
    op.create_table(
        "cohort_films",
        sa.Column("cohort_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=True),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.cohort_id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["film_id"],
            ["films.film_id"],
        ),
        sa.PrimaryKeyConstraint("cohort_id", "position"),
    )
    op.create_table(
        "job_films",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("requested", sa.Boolean(), nullable=False),
        sa.Column("left_out", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["film_id"],
            ["films.film_id"],
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "film_id"),
    )
    op.create_index(op.f("ix_job_films_requested"), "job_films", ["requested"], unique=False)
    op.create_table(
        "objects",
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("analysis_id", sa.String(length=200), nullable=False),
        sa.Column("model_digest", sa.String(length=71), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("class_name", sa.String(length=128), nullable=False),
        sa.Column("sign", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["film_id"],
            ["films.film_id"],
        ),
        sa.PrimaryKeyConstraint("film_id", "uid", "kind"),
    )
    op.create_index(op.f("ix_objects_analysis_id"), "objects", ["analysis_id"], unique=False)
