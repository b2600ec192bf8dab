"""What promotion needs beside a network: buckets, of which one is anybody's to read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from public_buckets import new_public_bucket
from s3_servers import S3Server, bucket, s3_server

__all__ = ["bucket", "public_bucket", "s3_server"]


@pytest.fixture
def public_bucket(s3_server: S3Server) -> Iterator[str]:
    with new_public_bucket(s3_server) as name:
        yield name
