"""Provisioners: a same-named file for each place where servers are made, behind `provisioner.Provisioner`."""
