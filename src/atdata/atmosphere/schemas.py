"""Schema records: `SchemaPublisher` and `SchemaLoader`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atproto.syntax import AtUri
from atdata.records import Listing, Schema
from atdata.schema import CompatibilityMode


class SchemaPublisher:
    """Publishes sample types under the client's account."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._index = AtmosphereIndex(client)

    def publish(
        self,
        sample_type: type,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
        compat: CompatibilityMode | None = None,
    ) -> AtUri:
        """Publish a sample type; see `AtmosphereIndex.publish_schema`."""
        return self._index.publish_schema(
            sample_type,
            name=name,
            version=version,
            description=description,
            metadata=metadata,
            rkey=rkey,
            compat=compat,
        )


class SchemaLoader:
    """Reads schemas of anybody's; each is verified."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._index = AtmosphereIndex(client)

    def get(self, uri: str) -> Schema:
        """The schema at an address.

        Raises:
            NotFoundError: there is none.
            VerificationError: a link to it broke.
        """
        return self._index.get_schema(uri)

    def list_all(self, repo: str | None = None, limit: int | None = None) -> Listing[Schema]:
        """Schemas of a DID or handle, newest first; the client's own by default."""
        return self._index.list_schemas(repo, limit)

    def decode(self, uri: str) -> type:
        """The sample type that the schema at an address describes."""
        return self._index.decode_schema(uri)
