"""Managing API keys."""
