"""`Devnet`: a PLC directory, PDSes, relays and labelers in this process, on loopback, with real keys, proofs and limits."""

from atdata.testing.devnet.devnet import DevAccount, Devnet
from atdata.testing.devnet.firehose import Firehose
from atdata.testing.devnet.labeler import Labeler
from atdata.testing.devnet.relay import Relay

__all__ = ["DevAccount", "Devnet", "Firehose", "Labeler", "Relay"]
