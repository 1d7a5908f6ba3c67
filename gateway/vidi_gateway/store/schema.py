"""Tables of the journal. The same on SQLite and PostgreSQL; times are seconds since the epoch, UTC."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

#: One film: one SOP Instance UID, or a set-aside arrival under a UID that was taken.
films = sa.Table(
    "films",
    metadata,
    sa.Column("film_id", sa.String(64), primary_key=True),
    sa.Column("sop_instance_uid", sa.String(64), nullable=False, index=True),
    sa.Column("sop_class_uid", sa.String(64), nullable=False),
    sa.Column("file_key", sa.String(255), nullable=False),  # "": refused on arrival, not kept
    sa.Column("file_digest", sa.String(71), nullable=False),
    sa.Column("file_bytes", sa.BigInteger, nullable=False),
    sa.Column("pixel_digest", sa.String(71), nullable=False, default=""),
    sa.Column("identity_digest", sa.String(71), nullable=False, default=""),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason_code", sa.String(64), nullable=False, default=""),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("model", sa.String(128), nullable=False),  # the line that it arrived on
    sa.Column("source", sa.String(128), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.Double, nullable=False, index=True),
    sa.Column("updated_at", sa.Double, nullable=False, index=True),
)

#: One film on one model line: the current result, or the way to it.
analyses = sa.Table(
    "analyses",
    metadata,
    sa.Column("analysis_id", sa.String(200), primary_key=True),
    sa.Column("film_id", sa.String(64), sa.ForeignKey("films.film_id"), nullable=False, index=True),
    sa.Column("model", sa.String(128), nullable=False),
    sa.Column("model_version", sa.String(64), nullable=False, default=""),
    sa.Column("model_digest", sa.String(71), nullable=False, default=""),  # pinned by the first step
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("reason_code", sa.String(64), nullable=False, default=""),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("run", sa.Integer, nullable=False),  # the workflow's id is analysis id and run
    sa.Column("attempts", sa.Integer, nullable=False),  # of this run, restarts included
    sa.Column("waits", sa.Integer, nullable=False, default=0),  # attempts at services that were down
    sa.Column("enqueued_at", sa.Double, nullable=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("outcome_key", sa.String(255), nullable=False, default=""),
    sa.Column("outcome_digest", sa.String(71), nullable=False, default=""),
    sa.Column("summary", sa.Text, nullable=False, default=""),  # JSON: Summary
    sa.UniqueConstraint("film_id", "model"),
)

#: Result objects. A UID always means the same bytes.
objects = sa.Table(
    "objects",
    metadata,
    sa.Column("film_id", sa.String(64), sa.ForeignKey("films.film_id"), primary_key=True),
    sa.Column("uid", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(8), primary_key=True),
    sa.Column("analysis_id", sa.String(200), nullable=False, index=True),
    sa.Column("model_digest", sa.String(71), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("sop_class_uid", sa.String(64), nullable=False),
    sa.Column("media_type", sa.String(64), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("digest", sa.String(71), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("class_name", sa.String(128), nullable=False, default=""),
    sa.Column("sign", sa.String(16), nullable=False, default=""),
    sa.Column("created_at", sa.Double, nullable=False),
)

#: What is to be sent where.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("film_id", sa.String(64), nullable=False, index=True),
    sa.Column("uid", sa.String(64), nullable=False),
    sa.Column("destination", sa.String(64), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt", sa.Double, nullable=False),
    sa.Column("claimed_by", sa.String(64), nullable=False, default=""),
    sa.Column("claimed_until", sa.Double, nullable=False, default=0.0),
    sa.Column("last_error", sa.String(255), nullable=False, default=""),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.UniqueConstraint("uid", "destination"),
    sa.Index("outbox_due", "destination", "state", "next_attempt"),
)

#: Other bytes under a SOP Instance UID that is there already, until they are compared.
arrivals = sa.Table(
    "arrivals",
    metadata,
    sa.Column("arrival_id", sa.String(64), primary_key=True),
    sa.Column("film_id", sa.String(64), sa.ForeignKey("films.film_id"), nullable=False, index=True),
    sa.Column("file_key", sa.String(255), nullable=False),
    sa.Column("file_digest", sa.String(71), nullable=False),
    sa.Column("file_bytes", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String(128), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False, index=True),
    sa.Column("received_at", sa.Double, nullable=False),
)

#: Who did what, and what came of it; no patient data. Append only.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False, index=True),
    sa.Column("event", sa.String(64), nullable=False, index=True),
    sa.Column("film_id", sa.String(64), nullable=False, default=""),
    sa.Column("source", sa.String(128), nullable=False, default=""),
    sa.Column("outcome", sa.String(64), nullable=False, default=""),
)

#: A named list of films.
cohorts = sa.Table(
    "cohorts",
    metadata,
    sa.Column("cohort_id", sa.String(64), primary_key=True),
    sa.Column("display_name", sa.String(128), nullable=False),
    sa.Column("films", sa.Integer, nullable=False),  # how many
    sa.Column("created_at", sa.Double, nullable=False, index=True),
)

#: The films of a cohort, in the order given.
cohort_films = sa.Table(
    "cohort_films",
    metadata,
    sa.Column("cohort_id", sa.String(64), sa.ForeignKey("cohorts.cohort_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("film_id", sa.String(64), sa.ForeignKey("films.film_id"), nullable=False),
    sa.Column("label", sa.String(128), nullable=True),  # a reference label, given for all films or none
)

#: Clusterings that were made of a cohort; the clusterer holds them.
cohort_clusterings = sa.Table(
    "cohort_clusterings",
    metadata,
    sa.Column("cohort_id", sa.String(64), sa.ForeignKey("cohorts.cohort_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("clustering_id", sa.String(128), primary_key=True),
    sa.Column("created_at", sa.Double, nullable=False),
)

#: A background job: films to be explained on one model line at bulk priority.
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("model", sa.String(128), nullable=False),
    sa.Column("model_version", sa.String(64), nullable=False),
    sa.Column("model_digest", sa.String(71), nullable=False),  # loaded when the job was made
    sa.Column("cancelled", sa.Boolean, nullable=False, default=False),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
)

#: The films of a job. `left_out`: the job was cancelled before the film started.
job_films = sa.Table(
    "job_films",
    metadata,
    sa.Column("job_id", sa.String(64), sa.ForeignKey("jobs.job_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("film_id", sa.String(64), sa.ForeignKey("films.film_id"), primary_key=True),
    sa.Column("requested", sa.Boolean, nullable=False, default=False, index=True),
    sa.Column("left_out", sa.Boolean, nullable=False, default=False),
)
