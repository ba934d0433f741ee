"""One revision per change of the schema, in order."""
