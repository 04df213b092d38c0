"""What the author of a miner or validator writes against (AXON section 2): a file with a `Subnet`, and nothing else."""
