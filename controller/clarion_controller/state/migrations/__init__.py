"""How the schema came to be, one file a step; each release of Clarion brings older databases up by itself."""
