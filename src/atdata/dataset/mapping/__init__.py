"""Mapping of shards: each through a function to a shard of its own, by processes of this machine or of a cluster."""
