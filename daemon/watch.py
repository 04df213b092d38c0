"""Tells subscribers and the log what becomes final."""

from __future__ import annotations

from typing import Any

from .block_documents import epoch_documents
from .final_reports import FinalReport
from .head_feed import HeadFeed, HeadNews
from .node import Peer


def watch_peer(peer: Peer, feed: HeadFeed, log: Any) -> None:
    """Publish every final block to `feed` and write one line for it."""

    def final(report: FinalReport) -> None:
        last = report.blocks[-1]
        for block in report.blocks:
            epochs = tuple(epoch_documents(block.outcome))
            feed.publish(
                HeadNews(
                    block.header.height,
                    block.hash,
                    block.header.state_root,
                    last.header.height,
                    len(block.outcome.transactions),
                    epochs,
                )
            )
            for epoch in epochs:
                log.info("epoch", height=block.header.height, **epoch)
        log.info(
            "final",
            height=last.header.height,
            block=last.hash.hex()[:16],
            state_root=last.header.state_root.hex()[:16],
            blocks=len(report.blocks),
            transactions=sum(len(block.outcome.transactions) for block in report.blocks),
        )

    peer.on_final.append(final)
