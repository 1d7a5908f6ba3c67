"""The report: self-contained, well-formed, escaped, and honest about what it shows."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from datetime import datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from vidi.api.clusterer.v1 import clusterer_pb2 as pb
from vidi.api.common.v1 import common_pb2
from vidi.report import FilmCard, cohort_report, films_report, pictures

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks nesting and collects what the tests ask about."""

    def __init__(self, document: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(document.decode("utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def report(
    cards: list[FilmCard],
    clustering: pb.Clustering,
    sweep: pb.SweepKResponse,
    model: common_pb2.Model,
    generated: datetime,
) -> bytes:
    return cohort_report(
        title="A cohort", clustering=clustering, sweep=sweep, films=cards, model=model, generated=generated
    )


def render(cards: list[FilmCard], clustering: pb.Clustering, model: common_pb2.Model, generated: datetime) -> Page:
    return Page(
        cohort_report(title="t", clustering=clustering, sweep=None, films=cards, model=model, generated=generated)
    )


def test_the_file_stands_alone(report: bytes) -> None:
    page = Page(report)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert b"http:" not in report
    assert b"https:" not in report
    assert b"url(" not in report
    assert b"@import" not in report
    policy = next(m["content"] for m in page.all("meta") if "content" in m and "default-src" in m["content"])
    assert policy.startswith("default-src 'none'")


def test_it_can_be_read_without_seeing_it(report: bytes) -> None:
    page = Page(report)
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert all("scope" in th for th in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.all("a")]
    assert links
    assert all(link[0] == "#" and link[1:] in ids for link in links)
    labelled = [attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes]
    assert {part for value in labelled for part in value.split()} <= set(ids)


def test_it_says_what_has_to_be_said(report: bytes) -> None:
    text = Page(report).text
    assert text.count("ViDi assists; a radiologist decides. Not for diagnosis.") == 2
    assert len(re.findall("diagnos", text, re.IGNORECASE)) == 2
    assert "Homogeneity grows with the number of clusters by chance alone" in text
    assert "The model saw 64 × 64" in text
    assert "not calibrated" in text
    assert "Because <five> is enough." in text
    assert "This clustering has 2 clusters; the sweep recommends 5." in text
    for fact in ("0.612", "0.213", "seed 7", "faiss 1 cpu", "shap/float32", "pooled14-signed", "sha256:" + "a" * 64):
        assert fact in text
    assert not re.search(r"-0\.0+(?!\d)", text)
    assert "2026-01-02 03:04 UTC" in text


def test_a_class_is_never_shown_as_a_finding(report: bytes) -> None:
    text = Page(report).text
    assert "model favours class “normal”" in text
    assert not re.search(r"(?<![“\w])normal(?!”)", text)


def test_what_callers_send_is_escaped(
    cards: list[FilmCard], clustering: pb.Clustering, model: common_pb2.Model, generated: datetime
) -> None:
    evil = "<script>alert(1)</script>\"'&"
    cards[0] = dataclasses.replace(
        cards[0], label=evil, prediction=evil, warnings=[(evil, evil)], maps={evil: cards[0].maps["normal"]}
    )
    refused = FilmCard(id=evil, status=evil, reason=evil)
    clustering.clusters[0].labels[0].label = evil
    clustering.display_name = clustering.backend = evil
    model.intended_use.statement = model.ref.name = model.training_data = evil
    document = cohort_report(
        title=evil, clustering=clustering, sweep=None, films=[*cards, refused], model=model, generated=generated
    )
    page = Page(document)
    assert not page.all("script")
    assert b"<script" not in document
    assert page.text.count("alert(1)") >= 9


def test_clusters_are_described(report: bytes) -> None:
    text = Page(report).text
    assert "Cluster 0: 7 films, 57 % “label-0”" in text
    assert text.count("Mixed cluster: only 57 %") == 1
    assert "label-0: 4 (57 %) label-1: 3 (43 %)" in text
    assert "favorable +1.25 glum -0.75" in text
    assert "Maps: mean of 7 of 7 films" in text
    titles = [i["alt"] for i in Page(report).all("img")]
    for i in (5, 6):  # the extremes that are not typical films as well
        assert titles.count(f"Film film-{i} as the model saw it") == 1
    assert titles.count("Film film-2 as the model saw it") == 1
    assert titles.count("Mean map for the class pneumonia over the mean film of cluster 1") == 1


def test_predicted_labels_are_called_circular(
    cards: list[FilmCard], clustering: pb.Clustering, model: common_pb2.Model, generated: datetime
) -> None:
    assert "Circular:" not in render(cards, clustering, model, generated).text
    clustering.kmeans.label_source = pb.LABEL_SOURCE_PREDICTED
    assert "Circular:" in render(cards, clustering, model, generated).text


def test_without_labels_nothing_is_claimed(
    cards: list[FilmCard], clustering: pb.Clustering, model: common_pb2.Model, generated: datetime
) -> None:
    clustering.ClearField("agreement")
    clustering.ClearField("random_baseline")
    for cluster in clustering.clusters:
        del cluster.labels[:]
        cluster.purity = 0
    text = render(cards, clustering, model, generated).text
    assert "Mixed cluster" not in text
    assert "Homogeneity" not in text
    assert text.count("No labels.") == 2


def test_films_without_a_result_never_look_like_negative_ones(
    cards: list[FilmCard], clustering: pb.Clustering, model: common_pb2.Model, generated: datetime
) -> None:
    refused = FilmCard(id="film-lateral", status="refused", reason="VIEW_LATERAL: a lateral film")
    text = render([*cards, refused], clustering, model, generated).text
    assert "Having no result is not a negative result." in text
    assert "film-lateral refused VIEW_LATERAL: a lateral film" in text
    assert text.count("film-lateral") == 1
    assert "1 film without a result" in text


def test_members_without_a_card_are_counted(
    cards: list[FilmCard], clustering: pb.Clustering, model: common_pb2.Model, generated: datetime
) -> None:
    text = render(cards[1:8], clustering, model, generated).text
    assert "3 more films of this clustering are not listed here." in text
    assert "Not pictured: film-0 ." in text
    assert "Maps: mean of 6 of 7 films" in text


def test_calibration_is_said_film_by_film(
    cards: list[FilmCard], clustering: pb.Clustering, model: common_pb2.Model, generated: datetime
) -> None:
    model.calibrated = True
    calibrated = [dataclasses.replace(c, calibrated=True) for c in cards]
    assert "not calibrated" not in render(calibrated, clustering, model, generated).text
    assert "0.75 (not calibrated)" in render(cards, clustering, model, generated).text


def test_films_alone(cards: list[FilmCard], model: common_pb2.Model, generated: datetime) -> None:
    page = Page(films_report(title="One film", films=cards[:1], model=model, generated=generated))
    assert "Cluster" not in page.text
    alts = [i["alt"] for i in page.all("img")]
    assert "Film film-0 with its map for the class normal" in alts
    assert "Film film-0 with its map for the class pneumonia" in alts
    assert "3.0e-06" in page.text
    nothing = Page(films_report(title="None", films=[], model=model, generated=generated))
    assert "0 films" in nothing.text


def test_the_same_input_gives_the_same_bytes(
    report: bytes,
    cards: list[FilmCard],
    clustering: pb.Clustering,
    sweep: pb.SweepKResponse,
    model: common_pb2.Model,
    generated: datetime,
) -> None:
    assert report == cohort_report(
        title="A cohort", clustering=clustering, sweep=sweep, films=cards, model=model, generated=generated
    )


def test_a_scale_that_was_not_measured_is_said_to_come_from_the_films(
    cards: list[FilmCard], clustering: pb.Clustering, model: common_pb2.Model, generated: datetime
) -> None:
    assert "measured once for this model" in render(cards, clustering, model, generated).text
    model.map_scale = 0.0
    assert "do not compare colours with another report" in render(cards, clustering, model, generated).text


def pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_the_scale_is_fixed_so_a_faint_map_stays_faint() -> None:
    grey = np.full((64, 64), 0.5, np.float32)
    spot = np.zeros((64, 64), np.float32)
    spot[24:40, 24:40] = 1e-3
    none, faint, strong = (pixels(pictures.overlay(grey, spot * factor, 1e-3)) for factor in (0.0, 0.02, 1.0))
    tint = [int(np.ptp(p[32, 32])) for p in (none, faint, strong)]
    assert tint[0] < 6
    assert tint[1] < 0.35 * tint[2]
    assert tint[2] > 60


def test_favorable_and_glum_differ_in_hue_and_corners_stay_grey() -> None:
    grey = np.full((64, 64), 0.5, np.float32)
    spot = np.zeros((64, 64), np.float32)
    spot[24:40, 24:40] = 1e-3
    favorable, glum = (pixels(pictures.overlay(grey, sign * spot, 1e-3)) for sign in (1, -1))
    red_over_blue = [int(p[32, 32, 0] - p[32, 32, 2]) for p in (favorable, glum)]
    assert red_over_blue[0] * red_over_blue[1] < 0
    assert np.ptp(favorable[2, 2]) < 6


def test_many_clusters_stay_within_one_message(model: common_pb2.Model, generated: datetime) -> None:
    """Forty clusters of films that do not compress: the pictures are limited, all films are listed."""
    rng = np.random.default_rng(0)
    film = rng.random((224, 224), dtype=np.float32)
    attribution = (1e-3 * rng.normal(size=(224, 224))).astype(np.float32)
    cards = [
        FilmCard(id=f"f{i}", thumbnail=film, maps={"normal": attribution}, prediction="normal") for i in range(400)
    ]
    clustering = pb.Clustering(k=40, count=400, members=[pb.Member(id=f"f{i}", cluster=i // 10) for i in range(400)])
    for c in range(40):
        ids = [f"f{i}" for i in range(10 * c, 10 * c + 10)]
        clustering.clusters.add(index=c, size=10, medoid_ids=ids[:5], extreme_ids=ids[:4:-1])
    document = cohort_report(
        title="t", clustering=clustering, sweep=None, films=cards, model=model, generated=generated
    )
    assert len(document) < 15 << 20
    assert all(f">f{i}<".encode() in document for i in range(400))
