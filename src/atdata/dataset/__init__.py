"""Datasets: typed samples in shards, iterated in an order that is a pure function of what was asked."""

from atdata.dataset.dataset import Dataset, DatasetDict
from atdata.dataset.mixing import concat, mix
from atdata.dataset.undefined import undefined_samples
from atdata.dataset.writing import write_samples

__all__ = ["Dataset", "DatasetDict", "concat", "mix", "undefined_samples", "write_samples"]
