"""Asking the controller through its socket, for whoever does: the command line, and a night's rehearsals.

`calls` are those of its API, `plan` is what a deployer signs, and `follow` watches what became of it.
"""

AS_ITS_USER = "Run this as the controller's user: 'sudo -u clarion clarion ...'."
