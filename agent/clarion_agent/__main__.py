"""`python -m clarion_agent` is `clarion-agent`."""

from clarion_agent.cli import main

main()
