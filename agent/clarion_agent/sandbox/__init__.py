"""Sandboxes: each is a file that does what `stages.run_tests.Sandbox` asks for."""
