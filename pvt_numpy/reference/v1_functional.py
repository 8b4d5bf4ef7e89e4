"""PVT v1 in PyTorch's own functions, from the paper: the reference at sizes at which Hugging Face's model raises.

Written apart from pvt_numpy: (B, C, H, W) maps, F.conv2d, F.layer_norm, F.interpolate, F.softmax; only the parameters'
names are ours. Returns the intermediates under our trace's names.
"""

import math


def v1_functional(pixel_values, flat, config):
    """Names -> tensors: tokens, blocks, probabilities, maps, the norm, the pooled features and the logits.

    pixel_values (B, num_channels, H, W) and flat (dotted name -> tensor) of one type.
    """
    from torch import cat
    from torch.nn import functional as F

    def norm(x, name, eps):
        return F.layer_norm(x, x.shape[-1:], flat[f"{name}.weight"], flat[f"{name}.bias"], eps)

    def linear(x, name):
        return F.linear(x, flat[f"{name}.weight"], flat.get(f"{name}.bias"))

    def heads(x, count):
        return x.unflatten(-1, (count, -1)).transpose(1, 2)

    def attention(x, name, H, W, count, ratio):
        source = x
        if ratio > 1:
            fold = x.transpose(1, 2).unflatten(2, (H, W))
            small = F.conv2d(fold, flat[f"{name}.sr.weight"], flat[f"{name}.sr.bias"], stride=ratio)
            source = norm(small.flatten(2).transpose(1, 2), f"{name}.norm", config.embed_eps)
        q, (k, v) = linear(x, f"{name}.q"), linear(source, f"{name}.kv").chunk(2, dim=-1)
        q, k, v = heads(q, count), heads(k, count), heads(v, count)
        probs = F.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), dim=-1)
        return linear((probs @ v).transpose(1, 2).flatten(2), f"{name}.proj"), probs

    seen, x = {}, pixel_values
    stored_h, stored_w = config.image_hw
    last = config.num_encoder_blocks - 1
    for i, depth in enumerate(config.depths):
        stage, patch, stride = f"stages.{i}", config.patch_sizes[i], config.strides[i]
        stored_h, stored_w = (stored_h - patch) // stride + 1, (stored_w - patch) // stride + 1
        x = F.conv2d(x, flat[f"{stage}.patch_embed.proj.weight"], flat[f"{stage}.patch_embed.proj.bias"], stride)
        H, W = x.shape[2:]
        x = norm(x.flatten(2).transpose(1, 2), f"{stage}.patch_embed.norm", config.embed_eps)
        table = flat[f"{stage}.pos_embed"]
        first, grid = table[:, : i == last], table[:, i == last :]
        grid = grid.transpose(1, 2).unflatten(2, (stored_h, stored_w))
        grid = F.interpolate(grid, size=(H, W), mode="bilinear", align_corners=False)
        if i == last:
            x = cat([flat[f"{stage}.cls_token"].expand(len(x), -1, -1), x], dim=1)
        x = x + cat([first, grid.flatten(2).transpose(1, 2)], dim=1)
        seen[f"{stage}.tokens"] = x
        for j in range(depth):
            name, ratio = f"{stage}.blocks.{j}", config.sr_ratios[i]
            y = norm(x, f"{name}.norm1", config.layer_norm_eps)
            y, seen[f"{name}.attn.probs"] = attention(y, f"{name}.attn", H, W, config.num_attention_heads[i], ratio)
            x = x + y
            y = norm(x, f"{name}.norm2", config.layer_norm_eps)
            x = x + linear(F.gelu(linear(y, f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
            seen[name] = x
        tokens = x
        seen[stage] = x = x[:, -H * W :].transpose(1, 2).unflatten(2, (H, W))
    seen["norm"] = norm(tokens, "norm", config.layer_norm_eps)
    seen["pooled"] = seen["norm"][:, 0]
    seen["logits"] = linear(seen["pooled"], "head")
    return seen
