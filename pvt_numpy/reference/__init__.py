"""What the numbers should be: PyTorch, live or written down, and the comparison with ours."""
