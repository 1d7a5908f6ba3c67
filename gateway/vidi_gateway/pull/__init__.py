"""Fetching films from another archive (backfill): by C-FIND and C-MOVE to ourselves, or by QIDO-RS and WADO-RS."""
