"""Training: `vidi train`. Needs the extra `train` (lightning, torchmetrics, scikit-learn)."""

from __future__ import annotations
