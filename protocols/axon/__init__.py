"""Axon and dendrite: signed calls between hotkeys over pooled streams (AXON 7.1; docs/axon.md)."""
