"""Models: versions, aliases with their history, the gate between challenger and champion."""
