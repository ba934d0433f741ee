"""Small, dependency-free building blocks that every room may use."""
