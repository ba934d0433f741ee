"""The write-ahead ledger: every prediction is on disk before it is answered, and in PostgreSQL soon after."""
