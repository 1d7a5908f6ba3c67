"""Whether the map of class severe lies where the opacity was drawn, beside what costs nothing.

    .venv/bin/python -m experiments.phantom_truth --output DIR

Severe phantoms of a cohort of its own are explained, and each map is compared with the mask of the opacity by the
product's own `vidi_explainer.quality.truth`: the share of its favorable part inside, of the exact and of the smoothed
map, and the pointing game. Two outputs are explained: the logit of class severe, and class severe against the mean of
the others.

**Rivals.** The absolute gradient of the same output by the film's grey values; the gradient times what the film has
more than the mean of the references, whose positive part counts as a map's favorable part does; a map of random
numbers; and chance, the mask's share of the grid. Gradients come from torch, through the same network.

**All films count**, those that the model gets wrong too: a map explains the model's answer, right or not.

**Intervals** are of 95 %, over films. Those of medians come from a bootstrap, whose resamples are the same for all, so
that differences are of pairs. Those of hits are Wilson's: where every film is a hit, a bootstrap has no width.
"""
