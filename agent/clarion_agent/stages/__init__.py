"""The steps of a deployment on a host; `clarion_agent.deploy` lists them in order."""
