"""How forges announce that something was pushed: a same-named file each, `verify` first and `read` after."""
