"""From messages and film cards to what the template prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.report import pictures
from vidi.report.cards import FilmCard
from vidi.report.plot import METRICS

#: Below this share of one label a cluster is called mixed (paper, Fig. 5: the films that do not fit).
PURE = 0.8

#: Films pictured in all galleries together; with many clusters each gets fewer. Keeps the file within one message.
GALLERY_FILMS = 120

#: Mean maps pictured at most; with more clusters and classes than that there are only numbers.
MEAN_MAPS = 160

#: Colours of the label bar; more labels share the last one, and the text beside the bar names them all.
LABEL_COLOURS = 8


@dataclass(frozen=True)
class Picture:
    """A picture with what it shows in words."""

    uri: str
    alt: str


@dataclass(frozen=True)
class FilmView:
    """A film in a gallery or a table, with its pictures: the film and maps by class (none: nothing to show)."""

    card: FilmCard
    cluster: int | None
    distance: float | None
    label: str
    probability: float | None
    residual: float | None
    film: Picture | None = None
    maps: tuple[tuple[str, Picture], ...] = ()


@dataclass(frozen=True)
class Share:
    """A label's part of a cluster; `colour` indexes the bar's colours."""

    label: str
    count: int
    percent: float
    colour: int


@dataclass(frozen=True)
class ClassMap:
    """A class's mean map in a cluster, and the favorable and glum sums of the centroid (None: unknown)."""

    name: str
    picture: Picture | None
    favorable: float | None
    glum: float | None


@dataclass(frozen=True)
class ClusterView:
    """One cluster's section; `shown` of its members have cards, `without_picture` should be pictured and have none."""

    cluster: clusterer_pb2.Cluster
    shares: tuple[Share, ...]
    mixed: bool
    maps: tuple[ClassMap, ...]
    shown: int
    typical: tuple[FilmView, ...]
    untypical: tuple[FilmView, ...]
    without_picture: tuple[str, ...]

    @property
    def pictured(self) -> bool:
        """Whether there are mean maps to see."""
        return any(m.picture for m in self.maps)


@dataclass(frozen=True)
class MetricRow:
    """One metric of agreement beside its random baseline."""

    name: str
    css: str
    value: float
    baseline: float


def film_views(
    films: Sequence[FilmCard], clustering: clusterer_pb2.Clustering | None, scale: float, *, picture: bool
) -> list[FilmView]:
    """All films in their given order; pictured with the maps of all classes, or not at all."""
    members = {m.id: m for m in clustering.members} if clustering is not None else {}
    return [_film(card, members.get(card.id), scale, tuple(card.maps) if picture else None) for card in films]


def cluster_views(
    clustering: clusterer_pb2.Clustering, films: Sequence[FilmCard], classes: Sequence[str], scale: float
) -> list[ClusterView]:
    """All clusters in their given order."""
    cards = {card.id: card for card in films}
    members = {m.id: m for m in clustering.members}
    colours = {label: min(i, LABEL_COLOURS - 1) for i, label in enumerate(_labels(clustering))}
    limit = max(1, GALLERY_FILMS // (2 * max(1, len(clustering.clusters))))
    own: dict[int, list[FilmCard]] = {}
    for member in clustering.members:
        if member.id in cards:
            own.setdefault(member.cluster, []).append(cards[member.id])
    views = []
    for cluster in clustering.clusters:
        typical = list(cluster.medoid_ids)[:limit]
        untypical = [i for i in cluster.extreme_ids if i not in cluster.medoid_ids][:limit]
        there = own.get(cluster.index, [])
        views.append(
            ClusterView(
                cluster=cluster,
                shares=tuple(
                    Share(entry.label, entry.count, 100.0 * entry.count / cluster.size, colours[entry.label])
                    for entry in cluster.labels
                ),
                mixed=bool(cluster.labels) and cluster.purity < PURE,
                maps=_class_maps(cluster, clustering, there, classes, scale),
                shown=len(there),
                typical=tuple(_favoured(cards[i], members[i], scale) for i in typical if i in cards),
                untypical=tuple(_favoured(cards[i], members[i], scale) for i in untypical if i in cards),
                without_picture=tuple(i for i in (*typical, *untypical) if i not in cards),
            )
        )
    return views


def metric_rows(agreement: clusterer_pb2.Agreement, baseline: clusterer_pb2.Agreement) -> list[MetricRow]:
    """The metrics of one clustering, or of one point of a sweep."""
    return [MetricRow(name, css, getattr(agreement, field), getattr(baseline, field)) for field, name, css in METRICS]


def _labels(clustering: clusterer_pb2.Clustering) -> list[str]:
    """All labels of the cohort, by name, so that a label has one colour everywhere."""
    return sorted({entry.label for cluster in clustering.clusters for entry in cluster.labels})


def _favoured(card: FilmCard, member: clusterer_pb2.Member, scale: float) -> FilmView:
    """A film with the map of the class that the model favours."""
    return _film(card, member, scale, (card.prediction,))


def _film(card: FilmCard, member: clusterer_pb2.Member | None, scale: float, classes: Sequence[str] | None) -> FilmView:
    """A film with the maps of some classes; without any picture when `classes` is None."""
    film, maps = None, []
    if classes is not None and card.thumbnail is not None:
        film = Picture(pictures.film(card.thumbnail), f"Film {card.id} as the model saw it")
        for name in classes:
            if name in card.maps:
                alt = f"Film {card.id} with its map for the class {name}"
                maps.append((name, Picture(pictures.overlay(card.thumbnail, card.maps[name], scale), alt)))
    return FilmView(
        card=card,
        cluster=member.cluster if member is not None else None,
        distance=member.distance if member is not None else None,
        label=card.label or "",
        probability=card.probabilities.get(card.prediction),
        residual=max((abs(r) for r in card.residuals.values()), default=None),
        film=film,
        maps=tuple(maps),
    )


def _class_maps(
    cluster: clusterer_pb2.Cluster,
    clustering: clusterer_pb2.Clustering,
    cards: Sequence[FilmCard],
    classes: Sequence[str],
    scale: float,
) -> tuple[ClassMap, ...]:
    order = list(clustering.kmeans.provenance.classes) or list(classes)
    favorable = _by_class(order, cluster.favorable_sums)
    glum = _by_class(order, cluster.glum_sums)
    few = len(clustering.clusters) * len(order) <= MEAN_MAPS
    background = pictures.mean_film(cards) if few else None
    found = []
    for name in order:
        mean = pictures.mean_map(cards, name) if few else None
        picture = None
        if mean is not None and background is not None:
            alt = f"Mean map for the class {name} over the mean film of cluster {cluster.index}"
            picture = Picture(pictures.overlay(background, mean, scale), alt)
        found.append(ClassMap(name, picture, favorable.get(name), glum.get(name)))
    return tuple(found)


def _by_class(order: Sequence[str], sums: Sequence[float]) -> Mapping[str, float]:
    return dict(zip(order, sums, strict=True)) if len(sums) == len(order) else {}
