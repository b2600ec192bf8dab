"""Repositories: CAR files, the Merkle search tree, signed commits, and the proof that a record is in one."""
