"""Lexicons: reading schema documents, and checking records and messages against them.

https://atproto.com/specs/lexicon.
"""

from __future__ import annotations

from atdata.atproto.lexicon.catalog import LexiconCatalog

__all__ = ["LexiconCatalog"]
