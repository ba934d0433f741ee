"""Which object store belongs to the platform."""
