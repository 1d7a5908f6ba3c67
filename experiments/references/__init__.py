"""How many references are enough, and how much it matters how they are made.

    .venv/bin/python -m experiments.references --output DIR

A set of B = 1, 2, 4 ... 64 references is made by each strategy as a bundle's would be, films are explained against it,
and the maps are compared with those of a yardstick: another set of 64 by the same strategy, made with another seed.

**The yardstick is a set of its own.** Compared with the set that they grow into, small sets look too good: the first 32
of 64 phantoms are half of them. Two sets of 64 differ as well, so the row B = 64 says how near any number of references
can be asked to come.

**Sets are made anew for each B**, not cut from the largest. Eight k-means centroids are means of many films; any eight
of 64 centroids are means of few, which no bundle of eight would hold. So the figures say what is lost by shipping B in
place of 64, not how fast a mean over one set of 64 settles.

**kmeans-by-class** takes multiples of the number of classes, the nearest to each B.

Centroids average few films here (`--minimum`), since 64 of at least 50 each would need many thousand. They are made,
used and thrown away: what is written holds figures alone. With `--data`, references come from films that the model was
trained on, and the explained films from patients that it was not; otherwise both are phantoms of cohorts that share no
film.
"""
