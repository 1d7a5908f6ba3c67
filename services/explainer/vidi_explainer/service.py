"""The explainer as a service of the suite. Light to import: torch and shap come with `open`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from vidi.service import Mounted, Service
from vidi_explainer.settings import ExplainerSettings

if TYPE_CHECKING:
    from vidi.bundle import Bundle
    from vidi_explainer.engine import Engine
    from vidi_explainer.quality.noise_floor import Randomised

NAME = "vidi.api.explainer.v1.ExplainerService"


@asynccontextmanager
async def open_explainer(settings: ExplainerSettings) -> AsyncIterator[Mounted]:
    """Load all bundles, their references and the engines; open the cache and the queues.

    Raises
    ------
    BundleError
        When a bundle is damaged or the engine does not support it; the service then does not start.
    PreconditionFailed
        When there is no such engine.
    """
    import asyncio

    from vidi.api.explainer.v1 import explainer_pb2_grpc
    from vidi.cache import open_cache
    from vidi.rpc.work import WorkQueue
    from vidi_explainer.assessments import Assessments
    from vidi_explainer.explanations import Explanations
    from vidi_explainer.servicer import ExplainerServicer

    models, engines, randomised = await asyncio.to_thread(_load, settings)
    cache = open_cache(settings)
    decoding = WorkQueue("explainer-decode", size=settings.queue_size, threads=settings.decode_threads)
    computing = WorkQueue(
        "explainer", size=settings.queue_size, threads=min(engine.concurrency for engine in engines.values())
    )
    explanations = Explanations(models, settings.default_model, engines, cache, decoding=decoding, computing=computing)
    assessments = Assessments(
        models, settings.default_model, engines, randomised, decoding=decoding, computing=computing
    )
    servicer = ExplainerServicer(explanations, assessments, settings.stream_concurrency)

    def add_to(server: Any) -> None:
        explainer_pb2_grpc.add_ExplainerServiceServicer_to_server(servicer, server)

    try:
        yield Mounted(add_to=add_to, names=(NAME,))
    finally:
        await decoding.close()
        await computing.close()
        await cache.close()


def _load(settings: ExplainerSettings) -> tuple[dict[str, Bundle], dict[str, Engine], dict[str, Randomised]]:
    from vidi import logs
    from vidi.bundle import discover
    from vidi_explainer.engine import open_engine, randomised_engines
    from vidi_explainer.options import engine_options

    options = engine_options(settings)
    models = discover(settings.model_dir)
    engines = {name: open_engine(settings.explainer_engine, bundle, options) for name, bundle in models.items()}
    log = logs.get("vidi.explainer")
    for name, engine in engines.items():
        log.info("engine opened", model=name, engine=engine.name, precision=engine.precision, how=engine.arithmetic)
    offered = {name: randomised_engines(settings.explainer_engine, bundle, options) for name, bundle in models.items()}
    return models, engines, {name: opened for name, opened in offered.items() if opened is not None}


SERVICE = Service(name="explainer", settings=ExplainerSettings, open=open_explainer)
