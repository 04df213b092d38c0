"""Plugins beside the peer: each in a process of its own, on a socket, without keys (AXON R24; DESIGN decision 14)."""
