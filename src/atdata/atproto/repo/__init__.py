"""Repositories: CAR files, the Merkle search tree, signed commits, and the proof that a record is in one."""

MAX_RECORD = 1_000_000
"""Bytes of one record."""
