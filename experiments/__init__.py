"""Experiments: questions about ViDi that a run answers. Nothing of the product imports them."""
