"""What a forward pass did, read off its trace: rollout, the statistics of heads, the cost of every layer."""
