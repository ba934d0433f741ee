"""From a raw file to Parquet parts, a schema and a profile, in bounded memory. Runs in a job's child."""
