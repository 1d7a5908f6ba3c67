"""What a radiologist sees: OHIF in a real browser, on a real archive, judged by the pixels of its screenshots.

Needs npm, and the npm registry, so it is not part of `make test`: `make test-ohif` runs it. `VIDI_SCREENSHOTS` names
the directory that the screenshots are left in.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from pydicom import Dataset, dcmread

from tests.e2e.orthanc.conftest import COUNTS, Site, draw, header_of, open_site, put
from tests.e2e.orthanc.viewer import fetch, served
from tests.integration.conftest import PASSWORD, USER
from vidi.embedded import Suite

pytestmark = [pytest.mark.ohif, pytest.mark.timeout(1200)]

#: The grid of the tiny network's maps. A film of as many pixels is the one that this viewer can lay a map over.
GRID, OTHER = 224, 256
SECONDARY_CAPTURE, PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.30"
VIEWPORT = "canvas.cornerstone-canvas"
#: WebGL in software: no machine for tests has a graphics card.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

Pixels = npt.NDArray[np.float64]


@dataclass
class Viewer:
    """A browser with the viewer, and what the archive has."""

    url: str
    page: Page
    site: Site
    shots: Path
    errors: list[str] = field(default_factory=list)

    def open(self, film: bytes) -> None:
        """Open the film's study, and wait until the film is shown."""
        self.errors.clear()
        self.page.goto(f"{self.url}/viewer?StudyInstanceUIDs={header_of(film).StudyInstanceUID}", timeout=180_000)
        self.page.locator(VIEWPORT).first.wait_for(timeout=180_000)
        self.shoot("film", lambda shown: alike(film_pixels(film), shown) > 0.9)  # before that, clicks go nowhere

    def choose(self, series: Dataset) -> None:
        """Have a series shown, as a user does."""
        self.page.get_by_text(str(series.SeriesDescription), exact=True).first.dblclick(timeout=120_000)

    def shoot(self, name: str, until: Any, patience: int = 120) -> Pixels:
        """Wait until what the viewport shows is as it should be (or time is over); return it (height, width, 3)."""
        shown: Pixels = np.zeros((1, 1, 3))
        for _ in range(patience):
            self.page.wait_for_timeout(1000)
            png = self.page.locator(VIEWPORT).first.screenshot(timeout=120_000)
            shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.float64)
            if until(shown):
                break
        path = self.shots / f"{name}.png"
        self.page.screenshot(path=path, timeout=120_000)
        COUNTS.append(f"OHIF: {path}")
        return shown

    def results(self, film: bytes, sop_class: str) -> list[Dataset]:
        """The film's results of a class, as the archive has them, by series number."""
        with httpx.Client(
            base_url=self.site.archive.http, auth=(USER, PASSWORD), timeout=60, trust_env=False
        ) as client:
            query = {"Level": "Instance", "Query": {"StudyInstanceUID": str(header_of(film).StudyInstanceUID)}}
            ids = client.post("/tools/find", json=query).raise_for_status().json()
            read = [dcmread(io.BytesIO(client.get(f"/instances/{i}/file").content)) for i in ids]
        return sorted((ds for ds in read if ds.SOPClassUID == sop_class), key=lambda ds: int(ds.SeriesNumber))


@pytest.fixture(scope="module")
def films() -> dict[int, bytes]:
    """Two films, by their size."""
    return {size: draw(1, 5000 + size, size)[0] for size in (GRID, OTHER)}


@pytest.fixture(scope="module")
def viewer(films: dict[int, bytes], backends: Suite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """The films and their results in the archive, and a browser on it."""
    root = tmp_path_factory.mktemp("ohif")
    shots = Path(os.environ.get("VIDI_SCREENSHOTS") or root / "screenshots").absolute()
    shots.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    assert chromium, "Chromium is needed (Debian package chromium)"
    pages = fetch(root)
    with open_site(root / "site", backends) as site:
        site.store(list(films.values()))
        site.gateway.settle(len(films))
        site.confirmed()
        put(site.archive, list(films.values()))
        with served(pages, site.archive) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            # No guided tour over the films.
            page.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
            opened = Viewer(url, page, site, shots)
            page.on("console", lambda m: opened.errors.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda e: opened.errors.append(str(e)))
            yield opened
            browser.close()


def fitted(picture: Pixels, shown: Pixels) -> tuple[Pixels, Pixels]:
    """A picture as large as the viewer shows it: fitted into the viewport, centred; and what is shown there."""
    (rows, columns), (height, width) = picture.shape[:2], shown.shape[:2]
    scale = min(height / rows, width / columns)
    h, w = round(rows * scale), round(columns * scale)
    top, left = (height - h) // 2, (width - w) // 2
    channels = np.atleast_3d(picture)
    resized = [
        np.asarray(Image.fromarray(channels[..., i].astype(np.float32)).resize((w, h), Image.Resampling.BILINEAR))
        for i in range(channels.shape[2])
    ]
    return np.squeeze(np.stack(resized, -1).astype(np.float64)), shown[top : top + h, left : left + w]


def alike(picture: Pixels, shown: Pixels) -> float:
    """Correlation of a picture with what is shown in its place."""
    a, b = fitted(picture, shown)
    b = b if a.ndim == 3 else b.mean(2)
    if not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def chroma(shown: Pixels) -> Pixels:
    """How far from grey (height, width), 0 to 255."""
    return np.asarray(shown.max(2) - shown.min(2))


def coloured(shown: Pixels) -> float:
    """Share of pixels that are not grey, apart from the margin where the viewer writes."""
    h, w = shown.shape[0] // 6, shown.shape[1] // 6
    return float((chroma(shown[h:-h, w:-w]) > 25).mean())


def film_pixels(film: bytes) -> Pixels:
    """As a viewer shows it."""
    ds = dcmread(io.BytesIO(film))
    pixels = ds.pixel_array.astype(np.float64)
    return -pixels if ds.PhotometricInterpretation == "MONOCHROME1" else pixels


def test_the_film_is_shown_grey(viewer: Viewer, films: dict[int, bytes]) -> None:
    for size, film in films.items():
        pixels = film_pixels(film)
        viewer.open(film)
        shown = viewer.shoot(f"film-{size}", lambda s, p=pixels: alike(p, s) > 0.9)
        assert alike(pixels, shown) > 0.9 and coloured(shown) < 0.01


def test_the_secondary_capture_is_shown_with_its_colours(viewer: Viewer, films: dict[int, bytes]) -> None:
    for size, film in films.items():
        (capture,) = viewer.results(film, SECONDARY_CAPTURE)
        picture = capture.pixel_array.astype(np.float64)
        viewer.open(film)
        viewer.choose(capture)
        shown = viewer.shoot(f"secondary-capture-{size}", lambda s, p=picture: alike(p, s) > 0.9)
        assert alike(picture, shown) > 0.9
        _, inner = fitted(picture, shown)
        for name, redder in (("favorable, orange", 1.0), ("glum, blue", -1.0)):
            of_sign = redder * (inner[..., 0] - inner[..., 2]) > 60
            expected = redder * (picture[..., 0] - picture[..., 2]) > 60
            assert of_sign.mean() > 0.5 * expected.mean() > 0, name


def test_a_parametric_map_is_a_heatmap_on_the_film(viewer: Viewer, films: dict[int, bytes]) -> None:
    film = films[GRID]
    maps = viewer.results(film, PARAMETRIC_MAP)
    assert len(maps) == 6
    viewer.open(film)
    for ds in maps[:2]:
        values = np.frombuffer(ds.FloatPixelData, "<f4").reshape(ds.Rows, ds.Columns).astype(np.float64)
        viewer.choose(ds)
        shown = viewer.shoot(f"parametric-map-{ds.ContentLabel.lower()}", lambda s: coloured(s) > 0.03)
        assert coloured(shown) > 0.03, viewer.errors
        assert alike(film_pixels(film), shown) > 0.5, "the film is still seen under it"
        magnitude, inner = fitted(values, shown)
        # Colour is where the map says: it grows with the map's values.
        strong, none = magnitude > np.quantile(magnitude, 0.95), magnitude <= np.quantile(magnitude, 0.3)
        assert chroma(inner)[strong].mean() > 3 * chroma(inner)[none].mean()
        viewer.open(film)


def test_this_viewer_refuses_a_map_of_another_matrix_than_its_film(viewer: Viewer, films: dict[int, bytes]) -> None:
    """A limitation that docs/development.md tells: once this fails, the viewer has learnt it, and the docs change."""
    film = films[OTHER]
    viewer.open(film)
    viewer.choose(viewer.results(film, PARAMETRIC_MAP)[0])
    refused = "different geometry dimensions (Rows and Columns)"
    for _ in range(60):
        if any(refused in error for error in viewer.errors):
            return
        viewer.page.wait_for_timeout(1000)
    pytest.fail(f"not refused; {viewer.errors}")
