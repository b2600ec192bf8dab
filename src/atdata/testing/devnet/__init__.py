"""`Devnet`: a PLC directory, PDSes and labelers in this process, on loopback, with real keys, proofs and limits."""

from atdata.testing.devnet.devnet import DevAccount, Devnet
from atdata.testing.devnet.labeler import Labeler

__all__ = ["DevAccount", "Devnet", "Labeler"]
