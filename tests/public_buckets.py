"""Buckets that anybody may read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from s3_servers import S3Server


@contextmanager
def new_public_bucket(server: S3Server) -> Iterator[str]:
    with server.new_bucket() as name:
        what = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [what]})
        server.client.put_bucket_policy(Bucket=name, Policy=policy)
        yield name
