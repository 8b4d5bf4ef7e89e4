"""Ours and PyTorch's side by side: the processes that are measured, and what runs inside them."""
