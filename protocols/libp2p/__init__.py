"""py-libp2p, hardened from outside (LIBP2P sections 6-8, CHAIN section 7).

The network stack is the library's: host, swarm, TCP, multistream-select, Noise, yamux, pubsub, gossipsub, ping and
identify. Each module here is a subclass or a fence around one of its parts, and its docstring lists what that part does
wrong as it comes. Ours alone are the accounts of who may connect (`connection_limits`), redialing (`reconnect`),
addresses and counters. The private names that the subclasses rely on are why the version is pinned.
`docs/transport.md` lists item by item where each point of LIBP2P section 8 is met.
"""
