"""Service managers: each is a file that does what `stages.restart.ServiceManager` asks for."""
