"""Reading: samples by their numbers, out of shards that are opened as they are needed."""
