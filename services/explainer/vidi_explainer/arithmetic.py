"""What all engines compute under."""

from __future__ import annotations

import torch


def use_full_precision() -> None:
    """Switch TF32 off for the whole process: on a GPU convolutions would else keep 10 bits and maps would not add up.

    Once and for good: switched around calls, the flag of one would be the other's.
    """
    torch.backends.cudnn.allow_tf32 = False
