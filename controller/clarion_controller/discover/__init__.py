"""Which hosts there should be, asked of whoever knows: a list in fleet.toml, an inventory, the clouds."""
