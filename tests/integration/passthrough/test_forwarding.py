"""Calls through a gateway's port reach the service and come back with its answers and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from vidi.api.classifier.v1 import classifier_pb2
from vidi.api.clusterer.v1 import clusterer_pb2
from vidi.api.explainer.v1 import explainer_pb2
from vidi.client import AsyncClient
from vidi.errors import InvalidInput
from vidi.rpc.channel import open_channel
from vidi.rpc.server import running
from vidi.service import Mounted, Service, find
from vidi.settings import ServiceSettings
from vidi_gateway.passthrough import FORWARDED, add_forwarders

FILM = np.random.default_rng(4).random((64, 48)).astype(np.float32)


@pytest.mark.parametrize(("number", "module"), [(0, classifier_pb2), (1, explainer_pb2), (2, clusterer_pb2)])
def test_every_rpc_of_a_service_is_handed_on(number: int, module: object) -> None:
    name, _, forwarder = FORWARDED[number]
    (service,) = module.DESCRIPTOR.services_by_name.values()  # type: ignore[attr-defined]
    assert service.full_name == name
    assert {method.name for method in service.methods} <= set(vars(forwarder))


async def test_an_assessment_through_the_gateway_is_the_explainers(model_dir: Path, tmp_path: Path) -> None:
    explainer = find("explainer")
    settings = explainer.settings(model_dir=model_dir, default_model="tiny-pneumonia", data_dir=tmp_path)
    async with running(explainer, settings) as behind:

        @asynccontextmanager
        async def opened(_settings: ServiceSettings) -> AsyncIterator[Mounted]:
            channel = open_channel(behind.address)
            names = tuple(name for name, _register, _forwarder in FORWARDED)
            yield Mounted(add_to=lambda server: add_forwarders(server, [channel] * 3), names=names)
            await channel.close()

        gateway = Service("gateway", ServiceSettings, opened)
        async with (
            running(gateway, ServiceSettings(grace_seconds=1.0)) as front,
            AsyncClient(gateway=front.address) as client,
            AsyncClient(explainer=behind.address) as direct,
        ):
            through = await client.assess(FILM, measures=("additivity", "repeatability"))
            assert through.outputs[0].repeatability
            alone = await direct.assess(FILM, measures=("additivity", "repeatability"))
            assert (through.model, through.method, through.measures) == (alone.model, alone.method, alone.measures)
            assert [o.output for o in through.outputs] == pytest.approx([o.output for o in alone.outputs])
            with pytest.raises(InvalidInput, match="truth_mask") as caught:
                await client.assess(FILM, measures=("truth",))
            assert [v.field for v in caught.value.violations] == ["truth_mask"]
