"""The model card: README.md of a bundle, written from its manifest."""

from __future__ import annotations

from vidi.bundle import Bundle
from vidi.manifest import IntendedUse


def card(bundle: Bundle, command: str, origin: str = "") -> str:
    """Return the model card in Markdown.

    Parameters
    ----------
    bundle
        The finished bundle.
    command
        The command line that made it.
    origin
        The bundle that it was made of, if any.
    """
    m = bundle.manifest
    classes = "\n".join(f"| {c.name} | {c.code.value} | {c.code.scheme} | {c.code.meaning} |" for c in m.classes)
    metrics = "\n".join(f"| {x.name} | {x.value:.3f} | {_range(x.ci_low, x.ci_high)} | {x.split} |" for x in m.metrics)
    calibration = (
        f"temperature-scaled (T = {m.temperature:.3f}) on validation films, for classes that are equally frequent: "
        "where one class is rarer, so is its probability in truth"
        if m.calibrated
        else "not calibrated"
    )
    return f"""# {m.name} {m.version}

{m.intended_use.statement}

- **Network**: {m.arch}, width {m.width:g}, {m.head} head; input {m.preprocessing.height} x {m.preprocessing.width}
  ({m.preprocessing.geometry}), float16 weights.
- **Intended use**: {_use(m.intended_use)}. Results are qualified {m.intended_use.content_qualification}.
- **Learned from**: {m.training_data}.
- **Licence of the training data**: {m.training_data_licence}.
- **Split**: {m.split.description}
- **Probabilities**: {calibration}.
- **DeepSHAP references**: {m.background_description}.
- **Made by**: `{command}`{origin and f", from {origin}"}

| class | code | scheme | meaning |
|---|---|---|---|
{classes}

| metric | value | 95 % interval | films |
|---|---|---|---|
{metrics}

A class of the model is not a finding. Not for diagnosis.
"""


def _use(use: IntendedUse) -> str:
    low, high = use.age_min_years, use.age_max_years
    age = f"age {low:g} to {high:g} years" if low is not None and high is not None else "any age"
    parts = [f"{' and '.join(use.subjects)} films", age, "/".join(use.modalities)]
    if use.views:
        parts.append("/".join(use.views) + " views")
    return ", ".join(parts) + f"; source: {use.source_population}"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
