"""A whole stack, as a team runs it: `make test-stack`. Not part of `make test`, since it needs Docker."""
