"""What this processor is good at, and which arithmetic follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vidi_explainer.deepshap.plan import Arithmetic


@dataclass(frozen=True)
class Choice:
    """An arithmetic and why.

    Attributes
    ----------
    arithmetic
        For the plan.
    precision
        "float32" or "bfloat16": stands in content keys and in results.
    reason
        For logs and people.
    """

    arithmetic: Arithmetic
    precision: str
    reason: str


def choose(device: torch.device, *, fast: bool) -> Choice:
    """Choose how to compute on a device.

    Parameters
    ----------
    device
        Where the network is.
    fast
        Whether bfloat16 products are wanted. A CPU that does not multiply them in hardware would emulate them, more
        slowly and less exactly than float32: it then gets float32.
    """
    if device.type != "cpu":
        if fast:
            return Choice(Arithmetic(fused=False, half=True), "bfloat16", f"{device.type}: bfloat16 convolutions")
        return Choice(Arithmetic(fused=False), "float32", f"{device.type}: float32")
    if not fast:
        return Choice(Arithmetic(fused=True), "float32", "CPU: float32, Winograd")
    if has_amx():
        return Choice(Arithmetic(fused=True, half=True, direct=True), "bfloat16", "CPU with AMX: bfloat16 convolutions")
    if has_bfloat16():
        return Choice(Arithmetic(fused=True, half=True), "bfloat16", "CPU with AVX512-BF16: bfloat16, Winograd")
    return Choice(
        Arithmetic(fused=True), "float32", "this CPU has neither AMX nor AVX512-BF16: fast mode computes in float32"
    )


def has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in tiles."""
    return bool(torch.cpu._is_amx_tile_supported())


def has_bfloat16() -> bool:
    """Whether the CPU has bfloat16 dot products."""
    return bool(torch.cpu._is_avx512_bf16_supported())
