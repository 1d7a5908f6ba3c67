"""Settings: read from the environment (`VIDI_...`) and from keyword overrides, validated once at start."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = "127.0.0.1"
MIB = 1 << 20


def default_data_dir() -> Path:
    """Where state lives unless `VIDI_DATA_DIR` says otherwise: the user's data folder (XDG)."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "vidi"


def default_model_dir() -> Path:
    """The starter bundles: inside the installed package, or models/ of a source checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "starter_models"
    return installed if installed.is_dir() else package.parent / "models"


class CommonSettings(BaseSettings):
    """Settings of every process."""

    model_config = SettingsConfigDict(env_prefix="VIDI_", extra="ignore", frozen=True)

    data_dir: Path = Field(default_factory=default_data_dir, description="Where state lives.")
    model_dir: Path = Field(default_factory=default_model_dir, description="Where model bundles lie, a directory each.")
    default_model: str = Field(default="pneumonia-slim", description="Model of requests that name none.")
    log_level: str = Field(
        default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR."
    )
    log_json: bool = Field(default=False, description="One JSON object a line instead of text.")


class ServiceSettings(CommonSettings):
    """Settings of every gRPC server."""

    host: str = Field(default=LOOPBACK, description="Address to listen on.")
    port: int = Field(default=0, ge=0, le=65535, description="gRPC port; 0 lets the system choose.")
    metrics_port: int = Field(default=-1, ge=-1, le=65535, description="Prometheus port; -1: none, 0: any free one.")
    max_message_bytes: int = Field(default=16 * MIB, gt=0, description="Largest gRPC message either way, in bytes.")
    max_receive_bytes: int = Field(
        default=0, ge=0, description="Largest gRPC message taken, where it is more than max_message_bytes (films)."
    )
    queue_size: int = Field(default=64, ge=1, description="Requests that may wait; more get RESOURCE_EXHAUSTED.")
    drain_seconds: float = Field(default=2.0, ge=0, description="Pause between NOT_SERVING and refusing new calls.")
    grace_seconds: float = Field(default=60.0, ge=0, description="How long running calls may go on during shutdown.")
    max_connection_age_seconds: float = Field(
        default=45.0, gt=0, description="After which clients reconnect, to find new replicas."
    )
