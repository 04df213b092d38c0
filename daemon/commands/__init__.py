"""The command line, one module for each family of commands (DESIGN 5)."""
