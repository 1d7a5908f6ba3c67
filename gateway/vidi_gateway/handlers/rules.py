"""Trying the site's rules on a film, and checking them against the models that are loaded."""

from __future__ import annotations

import asyncio

from pydicom import Dataset

from vidi.errors import Expired, NotFound, Unavailable
from vidi_gateway.clients import Services
from vidi_gateway.objects import is_own
from vidi_gateway.pipeline.header import read_header
from vidi_gateway.pipeline.intake import NOT_AN_IMAGE, OWN_OBJECT
from vidi_gateway.rules import Rules
from vidi_gateway.rules.dry_run import DryRun, dropped, dry_run, with_population
from vidi_gateway.settings import GatewaySettings
from vidi_gateway.threads import Threads

CHECK_SECONDS = 5.0


class RulesHandler:
    """Dry runs.

    Parameters
    ----------
    settings
        Called AE titles, and what the site does with films outside a model's intended use.
    rules
        Of the site.
    services
        Asked for a model's intended use.
    threads
        For blocking work.
    """

    def __init__(self, settings: GatewaySettings, rules: Rules, services: Services, threads: Threads) -> None:
        self._settings = settings
        self._rules = rules
        self._services = services
        self._threads = threads

    async def dry_run(self, data: bytes, *, source: str, called: str = "", model: str = "") -> DryRun:
        """Say what would happen to an instance if it came now.

        Parameters
        ----------
        data
            A Part 10 file.
        source, called, model
            How it would come: see `Rules.decide`. A model is one that the sender asks for by name.

        Raises
        ------
        UnreadableImage
            Not a DICOM file.
        """
        header = await self._threads.run(read_header, data)
        run = offline(self._settings, self._rules, header, source=source, called=called, model=model)
        if run.routing is None or run.reason_code:
            return run
        try:
            described = await self._services.model(run.routing.model)
        except NotFound:
            message = "the model is not loaded: the film would fail"
            return DryRun("refused", "MODEL_NOT_FOUND", message, run.checks, (), run.steps, run.routing)
        except (Unavailable, Expired):
            return run  # `checks` says that the population was not asked
        return with_population(run, header, described.intended_use, self._settings.out_of_population)


def offline(
    settings: GatewaySettings, rules: Rules, header: Dataset, *, source: str, called: str = "", model: str = ""
) -> DryRun:
    """Say what would happen to a film as far as no service needs to be asked; see `RulesHandler.dry_run`."""
    if is_own(header):
        return dropped(OWN_OBJECT)
    if "Rows" not in header or "Columns" not in header:
        return dropped(NOT_AN_IMAGE)
    line = model or settings.called_ae_titles.get(called, settings.default_model)
    return dry_run(rules, header, source=source, line=line, called=called, named=bool(model))


async def check_models(rules: Rules, services: Services, seconds: float = CHECK_SECONDS) -> bool:
    """Check that the models that rules name are loaded.

    Returns
    -------
    False when the classifier does not answer: it is not known yet.

    Raises
    ------
    InvalidInput
        RULES_INVALID, naming rule and model.
    """
    if not rules.models:
        return True
    try:
        async with asyncio.timeout(seconds):
            loaded = await services.models()
    except (Unavailable, Expired, TimeoutError):
        return False
    rules.check_models({model.ref.name for model in loaded})
    return True
