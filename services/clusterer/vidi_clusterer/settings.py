"""Settings of the clusterer."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from vidi.settings import MIB, ServiceSettings


class ClustererSettings(ServiceSettings):
    """Settings of the clusterer (`VIDI_...`)."""

    queue_size: int = Field(default=16, ge=1, description="Sweeps and fits that may wait for the one that runs.")
    quick_queue_size: int = Field(default=256, ge=1, description="Lookups and assignments that may wait.")
    max_vector_bytes: int = Field(
        default=1024 * MIB,
        gt=0,
        description="Vector data (float32) that all running calls may hold together; the peak is three times as much.",
    )
    assign_concurrency: int = Field(default=4, ge=1, description="Batches of one Assign stream worked on at a time.")

    @property
    def store_dir(self) -> Path:
        """Where clusterings lie, one directory each."""
        return self.data_dir / "clusterings"
