"""Test support: a network in this process, lies that its servers can tell, and a conformance suite for every port."""

from atdata.testing.devnet import DevAccount, Devnet, Firehose, Labeler, Relay
from atdata.testing.event_lies import FirehoseLie, firehose_lies
from atdata.testing.lies import Lie, OldState, Teller, blob_lies, identity_lies, label_lies, proof_lies
from atdata.testing.memory import MemoryDatabase
from atdata.testing.proxy import Proxy

__all__ = [
    "DevAccount",
    "Devnet",
    "Firehose",
    "FirehoseLie",
    "Labeler",
    "Lie",
    "MemoryDatabase",
    "OldState",
    "Proxy",
    "Relay",
    "Teller",
    "blob_lies",
    "firehose_lies",
    "identity_lies",
    "label_lies",
    "proof_lies",
]
