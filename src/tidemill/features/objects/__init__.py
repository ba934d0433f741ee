"""Objects of the store and the rows that refer to them."""
