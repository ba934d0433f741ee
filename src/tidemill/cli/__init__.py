"""The command line: a client of the SDK; processes are started by replacing this one."""
