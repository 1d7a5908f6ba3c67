"""REST: films and their results."""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response

from vidi.errors import InvalidInput, NotFound
from vidi.imaging.dx import wrap_image
from vidi_gateway.handlers.films import Films
from vidi_gateway.http.hosts import sender
from vidi_gateway.http.schemas import Film, FilmPage, Receipt
from vidi_gateway.store.records import FilmState

WRAPPED = {"image/png", "image/jpeg"}
ACCEPTED = {"application/dicom", *WRAPPED}


def router(films: Films, max_bytes: int, admitted: Any) -> APIRouter:
    """Return the routes. `admitted` is a dependency that refuses unknown senders."""
    api = APIRouter(prefix="/api/v1/films", tags=["films"])

    @api.post("", status_code=202, dependencies=[Depends(admitted)])
    async def submit(request: Request, model: Annotated[str, Query(max_length=128)] = "") -> Receipt:
        """Take in one film: the body is a DICOM Part 10 file (application/dicom), a PNG or a JPEG.

        A PNG or JPEG is wrapped in a generated DX with a pseudonymous patient. 202 means stored and journalled durably.
        """
        # Only these types: a web page elsewhere cannot send them without asking first (no CORS here).
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ACCEPTED:
            raise InvalidInput(f"content type must be one of {', '.join(sorted(ACCEPTED))}", field="content-type")
        data = await _body(request, max_bytes)
        if kind in WRAPPED:
            data = wrap_image(data)
        receipt = await films.submit(data, model, source="http")
        refusal = receipt.refusal
        return Receipt(
            film_id=receipt.film_id,
            state=FilmState.REFUSED if refusal else receipt.state,
            duplicate=receipt.duplicate,
            reason_code=refusal.code if refusal else "",
            reason=refusal.message if refusal else "",
        )

    @api.get("")
    async def list_films(
        state: Annotated[list[FilmState] | None, Query()] = None,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
        page_token: Annotated[str, Query(max_length=256)] = "",
    ) -> FilmPage:
        """List films, the last received first."""
        page = await films.list(page_size, page_token, state or ())
        return FilmPage(films=[Film.of(r) for r in page.films], next_page_token=page.next_token)

    @api.get("/{film_id}")
    async def get(film_id: str, model: Annotated[str, Query(max_length=128)] = "") -> Film:
        """Return a film; `model` picks the model line of the result."""
        return Film.of(await films.get(film_id, model))

    @api.get("/{film_id}/objects/{sop_instance_uid}", response_class=Response)
    async def get_object(
        request: Request, film_id: str, sop_instance_uid: str, kind: Literal["sr", "pm", "sc", "png", "ko"]
    ) -> Response:
        """Return a result object's bytes."""
        data = await films.object(film_id, sop_instance_uid, kind, reader=f"http:{sender(request)}")
        return Response(data, media_type="image/png" if kind == "png" else "application/dicom")

    @api.get("/{film_id}/overlay.png", response_class=Response)
    async def overlay(request: Request, film_id: str, model: Annotated[str, Query(max_length=128)] = "") -> Response:
        """Return the picture of film and maps (the display layer)."""
        record = await films.get(film_id, model)
        for stored in record.objects:
            if stored.kind == "png":
                data = await films.object(film_id, stored.uid, "png", reader=f"http:{sender(request)}")
                return Response(data, media_type="image/png")
        raise NotFound("overlay", film_id, hint="the film is not done")

    @api.get("/{film_id}/maps.npz", response_class=Response)
    async def maps(request: Request, film_id: str, model: Annotated[str, Query(max_length=128)] = "") -> Response:
        """Return the exact layer: float32 maps on the model's grid, the vector, and the transform to the film's pixels.

        Arrays: `map_<class>` (height, width) in logits, `attribution_vector`, `map_to_film` (a b c d e f).
        """
        outcome = await films.outcome(film_id, model, reader=f"http:{sender(request)}")
        a = outcome.map_to_film
        buffer = io.BytesIO()
        arrays = {f"map_{c.name}": c.map for c in outcome.classes}
        affine = np.array([a.a, a.b, a.c, a.d, a.e, a.f])
        np.savez_compressed(buffer, map_to_film=affine, attribution_vector=outcome.attribution_vector, **arrays)  # type: ignore[arg-type]
        return Response(buffer.getvalue(), media_type="application/octet-stream")

    @api.post("/{film_id}/retry", status_code=202)
    async def retry(film_id: str, model: Annotated[str, Query(max_length=128)] = "") -> Film:
        """Process a failed or refused film again."""
        await films.retry(film_id, model)
        return Film.of(await films.get(film_id, model))

    @api.post("/{film_id}/replay")
    async def replay(film_id: str, destination: Annotated[str, Query(max_length=64)] = "") -> dict[str, int]:
        """Send the film's dead letters again; returns how many objects."""
        await films.get(film_id)
        return {"objects": await films.replay(film_id, destination)}

    return api


async def _body(request: Request, limit: int) -> bytes:
    """Read the body, at most `limit` bytes of it.

    Raises
    ------
    InvalidInput
        When it is empty or larger.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise InvalidInput(f"the body is larger than {limit >> 20} MiB", field="body", reason="TOO_LARGE")
        parts.append(part)
    if not size:
        raise InvalidInput("the body is empty", field="body")
    return b"".join(parts)
