"""ViDi's own DeepSHAP: exact or fast, bounded in memory, re-entrant, for networks as they are.

    graph.py        what a network does, by torch.fx: nodes and the operations of ops.py
    ops.py          each operation: forward, and multipliers backwards (the mathematics is in its docstring)
    plan.py         the order of work backwards; what runs fused
    fused.py        convolution and the rules below it in one pass over memory (CPU)
    winograd.py     the convolution's transforms and weights
    kernels.py      compiled loops, on simd.py's vectors
    references.py   the references' activations
    backward.py     one film against a chunk of references
    engine.py       the engine

Sources: Shrikumar, Greenside and Kundaje, "Learning Important Features Through Propagating Activation Differences",
2017 (DeepLIFT, the rescale rule); Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", 2017
(SHAP, mean over references).
"""
