"""Learning: data, loop, optimiser and state, over flat dicts (dotted name -> array) that are updated in place."""
