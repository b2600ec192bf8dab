"""Test support: a network in this process, lies that its servers can tell, and a conformance suite for every port."""

from atdata.testing.devnet import DevAccount, Devnet, Labeler
from atdata.testing.lies import Lie, OldState, Teller, blob_lies, identity_lies, label_lies, proof_lies
from atdata.testing.memory import MemoryDatabase
from atdata.testing.proxy import Proxy

__all__ = [
    "DevAccount",
    "Devnet",
    "Labeler",
    "Lie",
    "MemoryDatabase",
    "OldState",
    "Proxy",
    "Teller",
    "blob_lies",
    "identity_lies",
    "label_lies",
    "proof_lies",
]
