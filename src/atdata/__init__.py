"""atdata: a loose federation of distributed, typed datasets.

Declare a sample type once, write shards, iterate them fast and exactly, see them through other types, and publish
them under your own identity, so that anyone can load them knowing who published them and that every byte is what was
published.
"""

from typing import TYPE_CHECKING, Any

from atdata.errors import AtdataError
from atdata.lazy import attach
from atdata.lens import lens  # not lazily: the function stands where its module would

if TYPE_CHECKING:
    from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, AtUri, BlobSource, PDSBlobStore
    from atdata.dataset import Dataset, DatasetDict, concat, mix, write_samples
    from atdata.importers import (
        from_anndata,
        from_arrow,
        from_csv,
        from_huggingface,
        from_images,
        from_jsonl,
        from_npz,
        from_pandas,
        from_parquet,
        from_polars,
        from_tiff,
        from_webdataset,
        infer,
        open,  # noqa: A004
    )
    from atdata.lens import Lens
    from atdata.loading import load_dataset
    from atdata.local import LocalDiskStore, LocalIndex, S3DataStore
    from atdata.manifest import Manifest, ManifestField
    from atdata.promote import promote_to_atmosphere
    from atdata.protocols import AbstractDataStore, AbstractIndex, DataSource, IndexEntry
    from atdata.samples import (
        Audio,
        ClassLabel,
        DictSample,
        Doc,
        Dtype,
        Image,
        PackableSample,
        Safetensors,
        SampleBatch,
        Shape,
        Unit,
        Video,
        packable,
    )
    from atdata.shards.s3 import S3Source

    __version__: str

# What not every program needs comes when it is asked for: `import atdata` stays light.
_LAZY = {
    "atdata.atmosphere": ("AtUri", "AtmosphereClient", "AtmosphereIndex", "BlobSource", "PDSBlobStore"),
    "atdata.dataset": ("Dataset", "DatasetDict", "concat", "mix", "write_samples"),
    "atdata.importers": (
        *("from_arrow", "from_csv", "from_huggingface", "from_images", "from_jsonl"),
        *("from_npz", "from_pandas", "from_parquet", "from_polars", "from_webdataset"),
        *("from_anndata", "from_tiff", "infer", "open"),
    ),
    "atdata.lens": ("Lens",),
    "atdata.loading": ("load_dataset",),
    "atdata.local": ("LocalDiskStore", "LocalIndex", "S3DataStore"),
    "atdata.manifest": ("Manifest", "ManifestField"),
    "atdata.promote": ("promote_to_atmosphere",),
    "atdata.protocols": ("AbstractDataStore", "AbstractIndex", "DataSource", "IndexEntry"),
    "atdata.samples": (
        *("Audio", "ClassLabel", "DictSample", "Doc", "Dtype", "Image", "PackableSample", "Safetensors", "SampleBatch"),
        *("Shape", "Unit", "Video", "packable"),
    ),
    "atdata.shards.s3": ("S3Source",),
}

__all__ = [
    "AbstractDataStore",
    "AbstractIndex",
    "AtUri",
    "AtdataError",
    "AtmosphereClient",
    "AtmosphereIndex",
    "Audio",
    "BlobSource",
    "ClassLabel",
    "DataSource",
    "Dataset",
    "DatasetDict",
    "DictSample",
    "Doc",
    "Dtype",
    "Image",
    "IndexEntry",
    "Lens",
    "LocalDiskStore",
    "LocalIndex",
    "Manifest",
    "ManifestField",
    "PDSBlobStore",
    "PackableSample",
    "S3DataStore",
    "S3Source",
    "Safetensors",
    "SampleBatch",
    "Shape",
    "Unit",
    "Video",
    "concat",
    "from_anndata",
    "from_arrow",
    "from_csv",
    "from_huggingface",
    "from_images",
    "from_jsonl",
    "from_npz",
    "from_pandas",
    "from_parquet",
    "from_polars",
    "from_tiff",
    "from_webdataset",
    "infer",
    "lens",
    "load_dataset",
    "mix",
    "open",
    "packable",
    "promote_to_atmosphere",
    "write_samples",
]


_find = attach(__name__, _LAZY)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _find(name)
    globals()[name] = version = _installed_version()
    return version


def _installed_version() -> str:
    """The version in the package's metadata, which is that of `pyproject.toml`."""
    from importlib import metadata  # some 20 modules, which nobody else needs

    try:
        return metadata.version("atdata")
    except metadata.PackageNotFoundError:  # a source tree on the path, never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return __all__
