"""The benchmark's result for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table


def tables(outcome: dict[str, Any]) -> Iterator[Table | str]:
    """Return what to print of `vidi bench explain`, in order.

    Parameters
    ----------
    outcome
        As `--json` prints it.
    """
    config, machine, memory = outcome["config"], outcome["machine"], outcome["memory"]
    yield (
        f"{config['network']['name']}, {config['references']} references, {config['classes']} classes, 1 film; "
        f"medians of {config['pairs']} rounds. {machine['cpu']}, {machine['cores']} cores, {config['threads']} threads."
    )
    speed = Table("", "seconds", "x shap", "x captum", "precision", title="time")
    shap, captum = outcome["shap_seconds"], outcome["captum_seconds"]
    speed.add_row("shap", f"{shap:.3f}", "1.0", f"{captum / shap:.1f}", "float32")
    speed.add_row("captum", f"{captum:.3f}", f"{shap / captum:.1f}", "1.0", "float32")
    for name in ("exact", "fast"):
        row = outcome[name]
        ratios = (f"{row[key]:.1f}" for key in ("speedup_vs_shap", "speedup_vs_captum"))
        speed.add_row(name, f"{row['seconds']:.3f}", *ratios, row["precision"])
    speed.add_row("bare convolutions", f"{outcome['roofline_seconds']:.3f}", "", "", "bfloat16")
    yield speed
    compared = f"against shap in float64, {config['films']} films"
    agreement = Table("", "relative L2", "cosine", "residual", title=compared)
    agreement.add_row(
        "shap", f"{outcome['exact']['shap_fp32_relative_l2']:.1e}", "", f"{outcome['shap_additivity_residual']:.1e}"
    )
    agreement.add_row("captum", "", "", f"{outcome['captum_additivity_residual']:.1e}")
    for name in ("exact", "fast"):
        row = outcome[name]
        agreement.add_row(
            name, f"{row['relative_l2']:.1e}", f"{row['cosine']:.7f}", f"{row['additivity_residual']:.1e}"
        )
    yield agreement
    many = f"MB, {config['many_references']} references"
    peaks = Table("", "MB", "of shap", many, "growth", title="peak memory above the network")
    peaks.add_row("shap", f"{memory['peak_mb']['shap']:.0f}", "1.00", "", "")
    for name in ("exact", "fast"):
        peaks.add_row(
            name,
            f"{memory['peak_mb'][name]:.0f}",
            f"{memory['ratio_vs_shap'][name]:.2f}",
            f"{memory['peak_mb'][f'{name}_many']:.0f}",
            f"{memory['many_over_few'][name]:.2f}",
        )
    yield peaks
    yield f"fast against the bare convolutions: {outcome['roofline_ratio']:.2f}"
