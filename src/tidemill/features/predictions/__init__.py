"""The prediction ledger: every predicted row, in day partitions of PostgreSQL."""
