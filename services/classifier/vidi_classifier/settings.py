"""Settings of the classifier."""

from __future__ import annotations

from pydantic import Field

from vidi.settings import ServiceSettings


class ClassifierSettings(ServiceSettings):
    """Settings of the classifier (`VIDI_...`)."""

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where networks run: cpu, cuda, cuda:N, or auto (cuda where there is one).",
    )
    torch_threads: int = Field(
        default=0, ge=0, description="Threads of one inference; 0 leaves torch's choice. Holds for the whole process."
    )
    stream_concurrency: int = Field(
        default=4, ge=1, le=1024, description="Films of one stream that are read ahead while others are computed."
    )
