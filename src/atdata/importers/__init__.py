"""Importers: what people have, as typed samples: folders of images, `.npz`, CSV, Parquet, shards. The sample type is inferred.

Every row is read before the first sample is given: what cannot become samples is refused before anything is published.
"""

from atdata.importers.imported import Imported
from atdata.importers.opening import open_path

__all__ = ["Imported", "open_path"]
