"""URLs of shards: their schemes, and where anyone reads objects of S3, S3-compatible stores and Google Cloud Storage."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from atdata.errors import UsageError

GOOGLE = "https://storage.googleapis.com"


def scheme_of(url: str) -> str:
    """The scheme of a URL in lower case; `file` for a path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", url)
    return match[1].lower() if match else "file"


def split_s3_url(url: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` address.

    Raises:
        UsageError: it has none.
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or "@" in bucket or not bucket or not key:
        raise UsageError("an s3:// URL does not name an object", expected="s3://bucket/key", actual=url)
    return bucket, key


def configured_endpoint() -> str | None:
    """The endpoint that the environment names in place of Amazon's, by the variables that every client of AWS reads."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def public_url(bucket: str, key: str, endpoint: str | None = None, region: str | None = None) -> str:
    """The URL at which anyone, without credentials, reads a public object.

    With an endpoint the bucket is part of the path, as every S3-compatible server takes it.

    Raises:
        UsageError: the bucket's name cannot be one.
    """
    check_bucket(bucket)
    try:
        path = quote(key, safe="/~")
    except UnicodeError:
        raise UsageError("the key of an S3 object is invalid", actual=ascii(key)[:200]) from None
    if endpoint:
        return f"{endpoint.rstrip('/')}/{bucket}/{path}"
    host = f"s3.{region}.amazonaws.com" if region and region.replace("-", "").isalnum() else "s3.amazonaws.com"
    # A dot in the bucket breaks the certificate of the virtual-host form.
    return f"https://{host}/{bucket}/{path}" if "." in bucket else f"https://{bucket}.{host}/{path}"


def check_bucket(bucket: str) -> str:
    """The name of a bucket.

    Raises:
        UsageError: it cannot be one.
    """
    if not bucket or not all(c.isascii() and (c.isalnum() or c in ".-_") for c in bucket):
        raise UsageError("the name of a bucket is invalid", actual=f"s3://{ascii(bucket)[1:-1][:80]}")
    return bucket


def public_gs_url(url: str) -> str:
    """The URL at which anyone, without credentials, reads a public object of Google Cloud Storage.

    An emulator takes Google's place where `STORAGE_EMULATOR_HOST` names one, as for Google's own libraries.

    Raises:
        UsageError: the address is not `gs://bucket/key`.
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or not key:
        raise UsageError("a gs:// URL does not name an object", expected="gs://bucket/key", actual=url)
    server = os.environ.get("STORAGE_EMULATOR_HOST") or GOOGLE
    return public_url(bucket, key, server if "://" in server else f"http://{server}")
