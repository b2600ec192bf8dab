"""Datasets as tables: columns, Arrow, pandas, polars, Parquet."""
