"""DeepSHAP references, the films that a film is compared with: how a set of them is made. No torch.

| strategy | a reference is | module |
|---|---|---|
| kmeans | the mean of training films that look alike | `kmeans` |
| kmeans-by-class | the same within one class; every class gets equally many | `kmeans` |
| kmedoids | a training film itself: of patients, only for the site that holds them | `kmedoids` |
| synthetic | a phantom without opacities | `synthetic` |
| blurred-mean | the blurred mean of all training films, a single one | `synthetic` |

The strategies' modules are pure: arrays in, arrays out, the same for the same seed. `sets` gives their results the
words and the recipe that a bundle's manifest holds.
"""

from __future__ import annotations

from vidi.background.sets import Films, References, from_films, from_phantoms

__all__ = ["Films", "References", "from_films", "from_phantoms"]
