"""The steps of a deployment, one file each; `clarion_agent.deploy` lists them in order."""
