"""Which scans exist, which are alike, and who is train, val and test: one row a scan, in Parquet."""

from reshim.catalog.catalog import Catalog

__all__ = ["Catalog"]
