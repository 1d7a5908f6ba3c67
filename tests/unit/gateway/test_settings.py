"""Settings of the gateway: read from the environment, wrong ones refused at start."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from vidi_gateway.service import WORKER
from vidi_gateway.settings import GatewaySettings, Peer


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDI_ALLOWED_PEERS", "PACS@10.0.0.5, *@127.0.0.1 ,RIS@*")
    monkeypatch.setenv("VIDI_AE_MODELS", '{"VIDI_PHANTOM": "severity-phantom"}')
    monkeypatch.setenv("VIDI_DESTINATIONS", '[{"name": "pacs", "ae_title": "PACS", "host": "10.0.0.5", "port": 104}]')
    settings = GatewaySettings()
    assert [(p.ae_title, p.host) for p in settings.allowed_peers] == [
        ("PACS", "10.0.0.5"),
        ("*", "127.0.0.1"),
        ("RIS", "*"),
    ]
    assert settings.called_ae_titles == {"VIDI": settings.default_model, "VIDI_PHANTOM": "severity-phantom"}
    assert settings.destinations[0].kinds == ("sr", "sc"), "maps only where a destination asks for them"


def test_only_this_machine_unless_set() -> None:
    settings = GatewaySettings()
    assert settings.dimse_host == "127.0.0.1"
    assert any(p.admits("ANY", "127.0.0.1") for p in settings.allowed_peers)
    assert not any(p.admits("ANY", "10.0.0.1") for p in settings.allowed_peers)
    assert Peer.parse("PACS@10.0.0.5").admits("PACS", "10.0.0.5")
    assert not Peer.parse("PACS@10.0.0.5").admits("OTHER", "10.0.0.5")
    assert not Peer.parse("PACS@10.0.0.5").admits("PACS", "10.0.0.6")


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_peers": "PACS"},
        {"allowed_peers": "@10.0.0.1"},
        {"allowed_peers": "A\\B@10.0.0.1"},
        {"ae_title": "SEVENTEEN_LETTERS"},
        {"ae_title": " "},
        {"ae_models": {"A\\B": "m"}},
        {"destinations": [{"name": "a", "ae_title": "A", "host": "h", "port": 0}]},
        {"destinations": [{"name": "a", "ae_title": "A", "host": "h", "port": 1, "kinds": ["png"]}]},
        {"destinations": [{"name": "a", "ae_title": "A", "host": "h", "port": 1}] * 2},
        {"role": "worker"},
        {"role": "front", "database_url": "sqlite:///x"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(**wrong)


def test_a_worker_on_postgresql_has_a_stable_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDI_DATABASE_URL", "postgresql://u:p@db/vidi")
    monkeypatch.setattr("socket.gethostname", lambda: "worker-0")
    settings = WORKER.settings()
    assert isinstance(settings, GatewaySettings)
    assert (settings.role, settings.worker_id) == ("worker", "worker-0")
    assert settings.journal_url == "postgresql+psycopg://u:p@db/vidi"
    assert settings.workflows_url == "postgresql://u:p@db/vidi"
    assert GatewaySettings(executor_id="w7").worker_id == "w7"
    monkeypatch.delenv("VIDI_DATABASE_URL")
    assert GatewaySettings().worker_id == "embedded"
