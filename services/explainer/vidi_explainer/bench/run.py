"""The whole benchmark: time, agreement, memory and roofline, gathered into one object."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vidi.bundle import Bundle
from vidi.imaging.preprocess import Grid
from vidi_explainer.bench import agreement, films, memory, network, timing
from vidi_explainer.bench.contenders import CAPTUM, SHAP, Contender, Explained, open_contender
from vidi_explainer.bench.progress import shown
from vidi_explainer.bench.roofline import Roofline

EXACT, FAST, BARE = "exact", "fast", "bare convolutions"


@dataclass(frozen=True)
class Config:
    """What is measured.

    Attributes
    ----------
    cache
        Where the network, its trunk and the slow float64 maps are kept between runs.
    references, many_references
        References of everything, and of the second measurement of memory.
    classes
        Classes of the benchmark's own network, 2 or 3.
    pairs
        Rounds of timing, a film each.
    films
        Films that agreement is measured on.
    exact, fast
        The engines' names.
    bundle
        What is explained; None: the benchmark's own network.
    """

    cache: Path
    references: int = 8
    many_references: int = network.REFERENCES
    classes: int = 2
    pairs: int = 7
    films: int = 10
    exact: str = "deepshap"
    fast: str = "deepshap-fast"
    bundle: Bundle | None = None


def measure(config: Config) -> dict[str, Any]:
    """Measure everything (25 minutes on two cores, 12 later); progress goes to standard error.

    Returns
    -------
    The benchmark's part of `vidi bench explain --json`; times in seconds, memory in MB of 1e6 bytes.

    Raises
    ------
    InvalidInput
        When the network has fewer references than are asked for.
    PreconditionFailed
        When the trained trunk cannot be got, there is no such engine, or the system is not Linux.
    """
    memory.require_linux()
    all_of_them = config.bundle or network.trained(config.cache, config.classes)
    few = network.with_references(all_of_them, config.references, config.cache)
    many = network.with_references(all_of_them, config.many_references, config.cache)
    used = _memory(config, few, many)
    count = max(config.pairs, config.films)
    *grids, warm_up = films.measured(count + 1, few.preprocessing)
    contenders: dict[str, Contender] = {
        SHAP: open_contender(SHAP, few, config.cache),
        CAPTUM: open_contender(CAPTUM, few, config.cache),
        EXACT: open_contender(config.exact, few, config.cache),
        FAST: open_contender(config.fast, few, config.cache),
    }
    roofline = Roofline(few, config.references * len(few.class_names))
    rounds = timing.measure(contenders, {BARE: roofline.run}, grids[: config.pairs], warm_up)
    explained = {
        name: _complete(contenders[name], rounds.explained[name], grids[: config.films], name)
        for name in (SHAP, EXACT, FAST)
    }
    truth = agreement.Truth(few, config.cache / "float64").maps(grids[: config.films])
    agrees = {name: agreement.compare(found, truth) for name, found in explained.items()}
    residuals = [found.residual for found in rounds.explained[CAPTUM]]
    measured: dict[str, Any] = _rounded(
        {
            "config": _configuration(config, few, contenders),
            **{
                name: {
                    "seconds": rounds.median(name),
                    "speedup_vs_shap": rounds.ratio(SHAP, name),
                    "speedup_vs_captum": rounds.ratio(CAPTUM, name),
                    "shap_fp32_relative_l2": agrees[SHAP]["relative_l2"],
                    "precision": contenders[name].precision,
                    **agrees[name],
                }
                for name in (EXACT, FAST)
            },
            **used,
            "roofline_ratio": rounds.ratio(FAST, BARE),
            "roofline_seconds": rounds.median(BARE),
            "shap_seconds": rounds.median(SHAP),
            "shap_additivity_residual": agrees[SHAP]["additivity_residual"],
            "captum_seconds": rounds.median(CAPTUM),
            "captum_additivity_residual": statistics.median(residuals),
            "rounds": rounds.seconds,
        }
    )
    return measured


def _complete(contender: Contender, done: list[Explained], grids: list[Grid], name: str) -> list[Explained]:
    """Return the explanations of all films: the rounds' own, and the rest computed now."""
    rest = grids[len(done) :]
    if rest:
        done = done + [contender.read(grid, contender.run(grid)) for grid in shown(rest, f"more films by {name}")]
    return done[: len(grids)]


def _memory(config: Config, few: Bundle, many: Bundle) -> dict[str, Any]:
    """Measure peaks; an engine of both names, on the same references, is measured once."""
    cases = {
        SHAP: (SHAP, few),
        EXACT: (config.exact, few),
        FAST: (config.fast, few),
        f"{EXACT}_many": (config.exact, many),
        f"{FAST}_many": (config.fast, many),
    }
    found: dict[tuple[str, str], memory.Usage] = {}
    for name, bundle in shown(list(dict.fromkeys((n, b.digest) for n, b in cases.values())), "peak memory"):
        found[name, bundle] = memory.measure(name, few if bundle == few.digest else many, config.cache)
    peak = {case: found[name, bundle.digest] for case, (name, bundle) in cases.items()}

    def over(above: Callable[[str], str], below: Callable[[str], str]) -> dict[str, float]:
        return {k: peak[above(k)].anonymous / max(peak[below(k)].anonymous, 1) for k in (EXACT, FAST)}

    against_shap = over(lambda name: name, lambda _: SHAP)
    growth = over(lambda name: f"{name}_many", lambda name: name)
    return {
        "memory_ratio_vs_shap": max(against_shap.values()),
        "memory_64_over_8": max(growth.values()),
        "memory": {
            "ratio_vs_shap": against_shap,
            "many_over_few": growth,
            "peak_mb": {"shap" if case == SHAP else case: used.anonymous / 1e6 for case, used in peak.items()},
            "peak_mapped_mb": {"shap" if case == SHAP else case: used.mapped / 1e6 for case, used in peak.items()},
        },
    }


def _configuration(config: Config, bundle: Bundle, contenders: dict[str, Contender]) -> dict[str, Any]:
    can = torch.cpu.get_capabilities()
    return {
        "references": config.references,
        "many_references": config.many_references,
        "classes": len(bundle.class_names),
        "pairs": config.pairs,
        "films": config.films,
        "engines": {EXACT: config.exact, FAST: config.fast},
        "network": {
            "name": bundle.name,
            "arch": bundle.manifest.arch,
            "width": bundle.manifest.width,
            "input": [bundle.preprocessing.height, bundle.preprocessing.width],
            "digest": bundle.digest,
            "metrics": {metric.name: metric.value for metric in bundle.manifest.metrics},
        },
        "precision": {name: contender.precision for name, contender in contenders.items()},
        "threads": torch.get_num_threads(),
        "bfloat16": {"avx512": bool(can.get("avx512_bf16")), "amx": bool(can.get("amx_bf16"))},
    }


def _rounded(value: Any) -> Any:
    """Cut numbers to what they mean: four digits, more for those that are told by their distance from 1."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if 0.99 < value < 1 else float(f"{value:.4g}")
    return value
