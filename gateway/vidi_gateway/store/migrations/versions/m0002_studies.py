"""Studies, lives of results, confirmed deliveries, pulls, merges, workers, controls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move forward."""
    op.create_table(
        "controls",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("updated_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "merges",
        sa.Column("message_id", sa.String(length=128), nullable=False),
        sa.Column("prior_key", sa.String(length=64), nullable=False),
        sa.Column("surviving_key", sa.String(length=64), nullable=False),
        sa.Column("identity_key", sa.String(length=255), nullable=False),
        sa.Column("films", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "prior_key"),
    )
    op.create_index(op.f("ix_merges_prior_key"), "merges", ["prior_key"], unique=False)
    op.create_table(
        "pulls",
        sa.Column("pull_id", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.String(length=128), nullable=False),
        sa.Column("peer", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("criteria", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("last_error", sa.String(length=255), server_default="", nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("pull_id"),
    )
    op.create_index(op.f("ix_pulls_created_at"), "pulls", ["created_at"], unique=False)
    op.create_index(op.f("ix_pulls_state"), "pulls", ["state"], unique=False)
    op.create_table(
        "rejections",
        sa.Column("film_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("film_id"),
    )
    op.create_table(
        "studies",
        sa.Column("study_key", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("input_digest", sa.String(length=71), server_default="", nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(length=255), server_default="", nullable=False),
        sa.Column("claimed_by", sa.String(length=64), server_default="", nullable=False),
        sa.Column("claimed_until", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("study_key", "model", "mode"),
    )
    op.create_index("studies_due", "studies", ["state", "due_at"], unique=False)
    op.create_table(
        "workers",
        sa.Column("executor_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("executor_id"),
    )
    op.create_table(
        "pull_items",
        sa.Column("pull_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), server_default="", nullable=False),
        sa.Column("sop_uid", sa.String(length=64), server_default="", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("films", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(length=255), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["pull_id"], ["pulls.pull_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pull_id", "position"),
    )
    op.create_index(op.f("ix_pull_items_state"), "pull_items", ["state"], unique=False)
    op.add_column("analyses", sa.Column("mode", sa.String(length=8), server_default="", nullable=False))
    op.add_column("analyses", sa.Column("explained_at", sa.Double(), nullable=True))
    op.add_column("analyses", sa.Column("superseded_by", sa.String(length=71), server_default="", nullable=False))
    op.add_column("analyses", sa.Column("urgency", sa.Double(), server_default="0", nullable=False))
    op.add_column("analyses", sa.Column("forgotten", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("analyses", sa.Column("urgency_reasons", sa.Text(), server_default="", nullable=False))
    op.add_column("audit", sa.Column("actor", sa.String(length=128), server_default="", nullable=False))
    op.add_column("audit", sa.Column("action", sa.String(length=16), server_default="", nullable=False))
    op.add_column("audit", sa.Column("detail", sa.Text(), server_default="", nullable=False))
    op.add_column("audit", sa.Column("chain", sa.String(length=71), server_default="", nullable=False))
    op.add_column("audit", sa.Column("writer", sa.String(length=64), server_default="", nullable=False))
    op.add_column("audit", sa.Column("exported", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index(op.f("ix_audit_exported"), "audit", ["exported"], unique=False)
    op.create_index("audit_chain", "audit", ["writer", "id"], unique=False)
    op.add_column("films", sa.Column("study_key", sa.String(length=64), server_default="", nullable=False))
    op.add_column("films", sa.Column("patient_key", sa.String(length=64), server_default="", nullable=False))
    op.add_column("films", sa.Column("routing", sa.Text(), server_default="", nullable=False))
    op.add_column("films", sa.Column("identity_key", sa.String(length=255), server_default="", nullable=False))
    op.add_column("films", sa.Column("withdrawn_at", sa.Double(), nullable=True))
    op.add_column("films", sa.Column("purged_at", sa.Double(), nullable=True))
    op.create_index(op.f("ix_films_patient_key"), "films", ["patient_key"], unique=False)
    op.create_index(op.f("ix_films_study_key"), "films", ["study_key"], unique=False)
    op.add_column("objects", sa.Column("study_key", sa.String(length=64), server_default="", nullable=False))
    op.add_column("objects", sa.Column("model", sa.String(length=128), server_default="", nullable=False))
    op.add_column("objects", sa.Column("mode", sa.String(length=8), server_default="", nullable=False))
    op.add_column("objects", sa.Column("retired_at", sa.Double(), nullable=True))
    op.add_column("objects", sa.Column("retired_reason", sa.String(length=16), server_default="", nullable=False))
    op.add_column("objects", sa.Column("noted", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("objects", sa.Column("replaced_by", sa.String(length=64), server_default="", nullable=False))
    op.create_index(op.f("ix_objects_study_key"), "objects", ["study_key"], unique=False)
    op.add_column("outbox", sa.Column("kind", sa.String(length=8), server_default="", nullable=False))
    op.add_column("outbox", sa.Column("priority", sa.Integer(), server_default="1", nullable=False))
    op.add_column("outbox", sa.Column("sent_at", sa.Double(), nullable=True))
    op.add_column("outbox", sa.Column("confirm_by", sa.Double(), nullable=True))
    op.add_column("outbox", sa.Column("denials", sa.Integer(), server_default="0", nullable=False))
    op.add_column("outbox", sa.Column("commit_transaction", sa.String(length=64), server_default="", nullable=False))
    op.create_index(op.f("ix_outbox_commit_transaction"), "outbox", ["commit_transaction"], unique=False)
