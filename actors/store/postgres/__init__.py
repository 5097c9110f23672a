"""The store on PostgreSQL: a table for each family, written by one fenced statement at a time."""
