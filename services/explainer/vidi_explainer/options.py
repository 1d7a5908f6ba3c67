"""From settings to what engines are opened with."""

from __future__ import annotations

from vidi.settings import MIB
from vidi_explainer.engine import EngineOptions
from vidi_explainer.settings import ExplainerSettings


def engine_options(settings: ExplainerSettings) -> EngineOptions:
    """Return the options of a process's engines; sets torch's threads where the settings name a number."""
    import torch

    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return EngineOptions(
        device,
        memory_bytes=settings.explainer_memory_mib * MIB,
        cache_dir=settings.data_dir / "explainer",
        concurrency=settings.explainer_concurrency,
    )
