"""Importers of folders of images, `.npz`, CSV, Parquet and shards as typed samples. The sample type is inferred.

Every row is read before the first sample is given: what cannot become samples is refused before anything is published.
"""

from atdata.importers.imported import Imported
from atdata.importers.opening import open_path

__all__ = ["Imported", "open_path"]
