"""The outside world, each vendor named once."""
