"""Commands that need the database itself: migrate, first key."""
