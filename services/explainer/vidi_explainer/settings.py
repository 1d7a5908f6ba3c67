"""Settings of the explainer."""

from __future__ import annotations

from pydantic import Field

from vidi.cache.opening import CacheSettings
from vidi.settings import ServiceSettings


class ExplainerSettings(ServiceSettings, CacheSettings):
    """Settings of the explainer (`VIDI_...`)."""

    explainer_engine: str = Field(
        default="deepshap",
        description="How attributions are computed: deepshap (float32), deepshap-fast (bfloat16 products where the "
        "processor has them), or shap (the reference, slow).",
    )
    explainer_concurrency: int = Field(
        default=1, ge=1, le=64, description="Films that one process explains at a time; each takes its own memory."
    )
    explainer_memory_mib: int = Field(
        default=1024,
        ge=128,
        description="Working memory of one film's explanation in MiB, beside the network and its weights rearranged "
        "(320 MiB for a VGG-19 of full width).",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where networks run: cpu, cuda, cuda:N, or auto (cuda where there is one).",
    )
    torch_threads: int = Field(
        default=0, ge=0, description="Threads of one computation; 0 leaves torch's choice. Holds for the whole process."
    )
    decode_threads: int = Field(default=2, ge=1, le=64, description="Images decoded at a time.")
    stream_concurrency: int = Field(
        default=4, ge=1, le=1024, description="Films of one stream that are read ahead while others are computed."
    )
    grace_seconds: float = Field(
        default=120.0, ge=0, description="How long running calls may go on during shutdown: above the longest explain."
    )
