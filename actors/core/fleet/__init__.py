"""Several servers on one PostgreSQL: who leads, and when a server tries to."""
