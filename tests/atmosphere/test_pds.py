"""The Devnet answers as the real PDS does: both pass one suite."""

import pytest

from atdata.testing import DevAccount
from support.networks import Network
from support.pds_suite import PdsSuite, PdsUnderTest


class TestPds(PdsSuite):
    @pytest.fixture
    def pds(self, network: Network, alice: DevAccount) -> PdsUnderTest:
        return PdsUnderTest(
            url=alice.pds_url,
            plc_url=network.plc_url,
            did=alice.did,
            handle=alice.handle,
            password=alice.password,
            blob_limit=52_428_800,
        )
