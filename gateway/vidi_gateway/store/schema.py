"""Tables of the journal. The same on SQLite and PostgreSQL; times are seconds since the epoch, UTC."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()

#: SQLite counts in INTEGER only.
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _text(name: str, length: int = 64, **options: Any) -> sa.Column[str]:
    """A short text, "" where there is none; the server fills it in too, for rows that are older than the column."""
    return sa.Column(name, sa.String(length), nullable=False, default="", server_default="", **options)


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
    _text("study_key", index=True),  # keyed digest of the Study Instance UID; "": it has none
    _text("patient_key", index=True),  # keyed digest of issuer and Patient ID
    sa.Column("routing", sa.Text, nullable=False, default="", server_default=""),  # JSON: the rule that took the film
    _text("identity_key", 255),  # file with the surviving patient's identity, after a merge
    sa.Column("withdrawn_at", sa.Double, nullable=True),
    sa.Column("purged_at", sa.Double, nullable=True),  # its bytes were deleted when their time was over
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
    _text("mode", 8),  # live: results are sent; shadow: they are not
    sa.Column("explained_at", sa.Double, nullable=True),
    _text("superseded_by", 71),  # the digest that the model line has now, when it is another one
    sa.Column("urgency", sa.Double, nullable=False, default=0.0, server_default="0"),  # 0..1, pulls forward only
    sa.Column("forgotten", sa.Boolean, nullable=False, default=False, server_default=sa.false()),  # by the cache too
    sa.Column("urgency_reasons", sa.Text, nullable=False, default="", server_default=""),  # JSON: codes
    sa.UniqueConstraint("film_id", "model"),
)

#: The films of a study on one model line: published together once no film has come for a while, and again on changes.
studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_key", sa.String(64), primary_key=True),
    sa.Column("model", sa.String(128), primary_key=True),
    sa.Column("mode", sa.String(8), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),  # waiting, settled
    sa.Column("due_at", sa.Double, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),  # publications so far
    _text("input_digest", 71),  # of what the last publication was made from
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    _text("last_error", 255),
    _text("claimed_by"),
    sa.Column("claimed_until", sa.Double, nullable=False, default=0.0),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Index("studies_due", "state", "due_at"),
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
    _text("study_key", index=True),
    _text("model", 128),
    _text("mode", 8),
    sa.Column("retired_at", sa.Double, nullable=True),  # no longer a current result
    _text("retired_reason", 16),  # a RejectionReason
    sa.Column("noted", sa.Boolean, nullable=False, default=False, server_default=sa.false()),  # rejection note made
    _text("replaced_by"),  # the report that names this one as its predecessor
)

#: What is to be sent where.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
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
    _text("kind", 8),
    sa.Column("priority", sa.Integer, nullable=False, default=1, server_default="1"),  # lower goes first
    sa.Column("sent_at", sa.Double, nullable=True),
    sa.Column("confirm_by", sa.Double, nullable=True),  # sent, and to be confirmed until then
    # how often the destination denied having what it had acknowledged
    sa.Column("denials", sa.Integer, nullable=False, default=0, server_default="0"),
    _text("commit_transaction", index=True),
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
    sa.Column("id", _SERIAL, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False, index=True),
    sa.Column("event", sa.String(64), nullable=False, index=True),
    sa.Column("film_id", sa.String(64), nullable=False, default=""),
    sa.Column("source", sa.String(128), nullable=False, default=""),
    sa.Column("outcome", sa.String(64), nullable=False, default=""),
    _text("actor", 128),
    _text("action", 16),
    sa.Column("detail", sa.Text, nullable=False, default="", server_default=""),  # JSON
    _text("chain", 71),  # digest over this record and the one before, under the site key
    _text("writer"),  # the connection whose chain it is
    sa.Column("exported", sa.Boolean, nullable=False, default=False, server_default=sa.false(), index=True),
    sa.Index("audit_chain", "writer", "id"),
)

#: Rejection notes that name a film, also one that has not come yet.
rejections = sa.Table(
    "rejections",
    metadata,
    sa.Column("film_id", sa.String(64), primary_key=True),
    sa.Column("reason", sa.String(16), nullable=False),
    sa.Column("source", sa.String(128), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

#: Patients that were merged, by the message that said so: a message is obeyed once.
merges = sa.Table(
    "merges",
    metadata,
    sa.Column("message_id", sa.String(128), primary_key=True),
    sa.Column("prior_key", sa.String(64), primary_key=True, index=True),
    sa.Column("surviving_key", sa.String(64), nullable=False),
    sa.Column("identity_key", sa.String(255), nullable=False),  # file with the surviving patient's identity
    sa.Column("films", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

#: Processes that work on films, and when each was last seen alive.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("executor_id", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("heartbeat_at", sa.Double, nullable=False),
)

#: Switches of the operators.
controls = sa.Table(
    "controls",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.String(255), nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("updated_by", sa.String(128), nullable=False),
)

#: Films fetched from another archive: a list, or what a query found.
pulls = sa.Table(
    "pulls",
    metadata,
    sa.Column("pull_id", sa.String(64), primary_key=True),
    sa.Column("display_name", sa.String(128), nullable=False),
    sa.Column("peer", sa.String(64), nullable=False),
    sa.Column("model", sa.String(128), nullable=False),
    sa.Column("criteria", sa.Text, nullable=False),  # JSON
    sa.Column("state", sa.String(16), nullable=False, index=True),
    _text("last_error", 255),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    sa.Column("updated_at", sa.Double, nullable=False),
)

#: What a pull fetches, in order.
pull_items = sa.Table(
    "pull_items",
    metadata,
    sa.Column("pull_id", sa.String(64), sa.ForeignKey("pulls.pull_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("level", sa.String(8), nullable=False),  # study, series, image
    sa.Column("study_uid", sa.String(64), nullable=False),
    _text("series_uid"),
    _text("sop_uid"),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("films", sa.Integer, nullable=False, default=0),
    _text("last_error", 255),
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
