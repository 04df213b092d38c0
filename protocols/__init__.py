"""What a peer says: codecs, limits, gossip, vote exchange, requests and sync (DESIGN 2, CHAIN 2 and 7).

Never imports `storage`: what it needs of a store is a `typing.Protocol` here, and `daemon` wires the two.
"""
