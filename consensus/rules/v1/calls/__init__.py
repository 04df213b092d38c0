"""The calls of rules version 1, one module for each family (DESIGN 7)."""
