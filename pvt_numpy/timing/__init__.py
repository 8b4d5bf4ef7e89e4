"""The processes that `benchmark` and `train --benchmark` measure, and what runs inside them."""
