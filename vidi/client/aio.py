"""The asynchronous client."""

from __future__ import annotations

from vidi.client.calls_clusters import ClusterCalls
from vidi.client.calls_films import FilmCalls
from vidi.client.calls_models import ModelCalls
from vidi.client.calls_quality import QualityCalls


class AsyncClient(ModelCalls, QualityCalls, ClusterCalls, FilmCalls):
    """Calls a running suite; every error is a `vidi.errors.ViDiError`.

    One `gateway` address suffices: it passes classify, explain and cluster calls through. Use it as an async context,
    or call `close`. It belongs to the event loop in which it makes its first call. See `Connection` for the parameters.

    Examples
    --------
    >>> async with AsyncClient(gateway="127.0.0.1:50050") as client:  # doctest: +SKIP
    ...     outcome = await client.explain("film.png")
    """
