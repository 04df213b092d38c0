"""The hardened libp2p of a yumad peer (LIBP2P sections 6-8, CHAIN section 7).

Kept from py-libp2p: the Noise handshake and session, keys and peer ids. Replaced, because their failures cannot be
fenced in from outside: stream multiplexing (`yamux`), protocol negotiation (`negotiation`), accepting and dialing
(`inbound`, `network`), gossip (`rpc`, `mesh`, `pubsub`). All of it speaks the published wire protocols, so other
libp2p implementations can dial in: /multistream/1.0.0, /noise, /yamux/1.0.0, /meshsub/1.0.0 to 1.2.0,
/ipfs/ping/1.0.0, /ipfs/id/1.0.0. `docs/transport.md` lists item by item where each point of LIBP2P section 8 is
met.
"""
