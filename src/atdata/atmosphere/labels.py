"""Label records: `LabelPublisher` and `LabelLoader`."""

from __future__ import annotations

from atdata.atmosphere.client import AtmosphereClient
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atproto.syntax import AtUri
from atdata.records import Label, Listing


class LabelPublisher:
    """Publishes names and versions of entries under the client's account."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._index = AtmosphereIndex(client)

    def publish(
        self, dataset_uri: str, *, name: str, version: str | None = None, description: str | None = None
    ) -> AtUri:
        """Publish a name, or a version of it, for an entry; see `AtmosphereIndex.add_label`.

        Args:
            dataset_uri: the entry.
            name: of the dataset.
            version: of the name, such as `1.0.0`.
            description: what is particular about this version.

        Raises:
            NotFoundError: there is no such entry.
            ConflictError: the version stands for another dataset, or was retracted.
        """
        entry = self._index.get_dataset(AtUri(dataset_uri))
        return self._index.add_label(entry, name=name, version=version, description=description).located


class LabelLoader:
    """Reads labels of anybody's; each is verified."""

    def __init__(self, client: AtmosphereClient) -> None:
        self._index = AtmosphereIndex(client)

    def get(self, uri: str) -> Label:
        """The label at an address.

        Raises:
            NotFoundError: there is none.
            VerificationError: a link to it broke.
        """
        return self._index.records.read(uri, Label)

    def list_all(self, repo: str | None = None, limit: int | None = None) -> Listing[Label]:
        """Labels of a DID or handle, newest first; the client's own by default."""
        return self._index.list_labels(repo, limit)

    def find(self, name: str, version: str | None = None, *, repo: str | None = None) -> Label:
        """The label of a name: of one version, or the newest; the client's own by default.

        Raises:
            NotFoundError: there is none; it names those there are.
            RetractedError: the version was retracted, or all of them.
        """
        return self._index.get_label(name, version, repo)
