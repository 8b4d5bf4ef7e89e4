"""The arithmetic of PVT, one small file a layer, the forward pass and below it the backward pass.

One legend for the axes, everywhere:

    B      pictures in the batch              N      query tokens, H * W of them (v1's class token: one more)
    C      channels of a token                M      key tokens, (H // R) * (W // R) of them (49 in linear SRA)
    H, W   rows and columns of the grid       R      SRA ratio: R x R tokens make one key
    heads  attention heads                    d      channels of a head, C / heads
    C'     channels that come out             k      side of a kernel

Tokens are (B, N, C) and maps (B, H, W, C), row by row: the same memory, so folding one into the other is free.
Weights have PyTorch's shapes. A layer's parameters are named as its weights are, so that a caller splats its sub-dict:
`mlp(x, **params["mlp"])`. `run` goes along beside the numbers: the name of the place, who watches, the noise of
training (`run.py`); for inference leave it out. `@has_twin` marks a formula that `fast/` has a faster form of.
Nothing here knows of files, pictures or configurations, and no input is ever modified.
"""
