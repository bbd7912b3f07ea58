"""The agent: everything of Clarion that ends up on a server."""

import clarion_protocol as clarion_protocol  # before anything loads TUF: see its lean_signers
