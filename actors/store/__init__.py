"""RocksDB: how records, lists and batches lie in it, and how they are read."""
