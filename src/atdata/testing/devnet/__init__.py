"""`Devnet`: a PLC directory and PDSes in this process, on loopback, with real keys, proofs and limits."""

from atdata.testing.devnet.devnet import DevAccount, Devnet

__all__ = ["DevAccount", "Devnet"]
