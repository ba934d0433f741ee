"""Commands that need the data itself: migrate, first key, bucket, backups and their schedule."""
