"""Conformance suites: subclass one in a test module, give it what it tests, and it becomes tests of that.

A fake is worth what its suite is worth: the fakes here and the real things pass the same one.
"""
