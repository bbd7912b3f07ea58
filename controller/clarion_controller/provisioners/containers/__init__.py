"""Servers in containers of this machine, on a network of their own: what the nspawn provisioner is made of."""
