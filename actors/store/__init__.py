"""The store on RocksDB: layout of records, indexes and batches, and the code that reads them."""
