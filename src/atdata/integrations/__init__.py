"""Integrations with frameworks, where these want an object of ours: one file for each, which imports its framework when it is used.

A framework comes to us wherever it can: a loader is what `DataLoader`, Lightning and accelerate read as it is. What is
here is for those that want an object of their own: a source, a sink, an engine.
"""
