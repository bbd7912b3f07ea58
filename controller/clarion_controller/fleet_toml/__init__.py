"""fleet.toml: a file for each of its kinds of table, and what no type can say of them."""
