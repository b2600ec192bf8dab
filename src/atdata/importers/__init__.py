"""Importers of what people have as typed samples. The sample type is inferred, or the caller's own.

Every row is read before the first sample is given: what cannot become samples is refused before anything is written.
"""

from atdata.importers.cells import from_anndata
from atdata.importers.frames import from_arrow, from_huggingface, from_pandas, from_polars
from atdata.importers.imported import Imported
from atdata.importers.members import Inference, from_webdataset, infer
from atdata.importers.opening import open, open_path, open_wanted, stem, type_name_of  # noqa: A004
from atdata.importers.sources import from_csv, from_images, from_jsonl, from_npz, from_parquet, from_tiff
from atdata.importers.wanted import Wanted

__all__ = [
    "Imported",
    "Inference",
    "Wanted",
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
    "open",
    "open_path",
    "open_wanted",
    "stem",
    "type_name_of",
]
