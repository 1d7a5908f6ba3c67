"""The report's two kinds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.api.common.v1 import common_pb2
from vidi.report import pictures, view
from vidi.report.cards import FilmCard
from vidi.report.plot import sweep_plot


def cohort_report(
    *,
    title: str,
    clustering: clusterer_pb2.Clustering,
    sweep: clusterer_pb2.SweepKResponse | None,
    films: Sequence[FilmCard],
    model: common_pb2.Model,
    generated: datetime,
) -> bytes:
    """Report on a clustering and its films.

    Parameters
    ----------
    title
        For people; no patient data.
    clustering
        With clusters and members; member ids are the films' ids.
    sweep
        The sweep behind its k; None when k was given.
    films
        Films to show. Members without a card are counted, but neither pictured nor part of mean maps.
    model
        What explained the films; its `map_scale` is the colour scale of every picture.
    generated
        When; with a time zone.

    Returns
    -------
    One self-contained HTML file, UTF-8.
    """
    scale = _scale(films, model)
    classes = [c.name for c in model.classes]
    agreement = clustering.HasField("agreement")
    return _render(
        title=title,
        films=films,
        model=model,
        generated=generated,
        scale=scale,
        clustering=clustering,
        circular=agreement and clustering.kmeans.label_source == clusterer_pb2.LABEL_SOURCE_PREDICTED,
        metrics=view.metric_rows(clustering.agreement, clustering.random_baseline) if agreement else [],
        clusters=view.cluster_views(clustering, films, classes, scale),
        rows=view.film_views([f for f in films if f.done], clustering, scale, picture=False),
        missing=max(0, len(clustering.members) - sum(f.done for f in films)),
        sweep=sweep,
        sweep_rows=[
            (p, view.metric_rows(p.agreement, p.random_baseline) if p.HasField("agreement") else [])
            for p in (sweep.points if sweep is not None else ())
        ],
        plot=sweep_plot(sweep) if sweep is not None else None,
    )


def films_report(*, title: str, films: Sequence[FilmCard], model: common_pb2.Model, generated: datetime) -> bytes:
    """Report on films without a clustering; see `cohort_report`."""
    scale = _scale(films, model)
    return _render(
        title=title,
        films=films,
        model=model,
        generated=generated,
        scale=scale,
        clustering=None,
        circular=False,
        metrics=[],
        clusters=[],
        rows=view.film_views([f for f in films if f.done], None, scale, picture=True),
        missing=0,
        sweep=None,
        sweep_rows=[],
        plot=None,
    )


def _scale(films: Sequence[FilmCard], model: common_pb2.Model) -> float:
    return model.map_scale if model.map_scale > 0 else pictures.shared_scale(films)


def _fixed(value: float, digits: int) -> str:
    """A number with so many decimals, and no minus before zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _render(*, films: Sequence[FilmCard], generated: datetime, **context: Any) -> bytes:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vidi.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = _fixed
    template = environment.get_template("report.html.j2")
    text = template.render(
        generated=generated.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        count=len(films),
        not_done=[f for f in films if not f.done],
        legend=pictures.legend(),
        recipe=pictures.RECIPE,
        **context,
    )
    return text.encode("utf-8")
