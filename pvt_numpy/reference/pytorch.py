"""The same model in PyTorch, for comparison: Hugging Face transformers' PVT, filled with our parameters.

Reference: `transformers` PvtForImageClassification and PvtV2ForImageClassification. If a configuration has the official
pair of epsilons (`patch_norm_eps`), it is set on the modules, for Hugging Face's configuration cannot say it. torch and
transformers are imported inside the functions; without them these raise ImportError.

Left out: v1 at another size than the configured one; Hugging Face's model reads its position table
as if it had the picture's grid, and raises at any other count of tokens.
"""

from importlib.util import find_spec

import numpy as np

from ..checkpoints.export import hf_fields, renamed

INSTALL = "pip install torch transformers (the extra [torch])"


def missing_packages():
    """Which of the packages that everything here needs are not installed."""
    return [name for name in ("torch", "transformers") if find_spec(name) is None]


def hf_config(config):
    """Hugging Face's configuration object for ours; a ValueError if it cannot express it."""
    from transformers import PvtConfig, PvtV2Config

    return (PvtConfig if config.model_type == "pvt" else PvtV2Config)(**hf_fields(config))


def hf_state_dict(params, config):
    """Hugging Face's names -> tensors, which share memory with our arrays if these are contiguous and writable."""
    import torch

    arrays = renamed(params, "hf-v1" if config.model_type == "pvt" else "hf-v2")
    return {name: torch.from_numpy(np.require(array, requirements="CW")) for name, array in arrays.items()}


def hf_model(params, config):
    """Hugging Face's model in eval mode, with our parameters, of their type."""
    import torch
    from transformers import PvtForImageClassification, PvtV2ForImageClassification

    hugging_face = PvtForImageClassification if config.model_type == "pvt" else PvtV2ForImageClassification
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        model = hugging_face(hf_config(config))
    model.load_state_dict(hf_state_dict(params, config), strict=True, assign=True)
    for name, module in model.named_modules():
        if name.endswith("layer_norm") and ("patch_embedding" in name or ".attention." in name):
            module.eps = config.embed_eps
    return model.eval()


def hf_trace(model, pixel_values, config):
    """The intermediates of Hugging Face's model under our trace's names and shapes, and its output object.

    pixel_values (B, num_channels, H, W), an array of the parameters' type.
    """
    import torch

    seen, hooks = {"pixel_values": torch.from_numpy(pixel_values)}, []

    def keep(name, module=None, pick=lambda inputs, output: output):
        seen[name] = None  # its place in the order; without a module its value comes later

        def hook(_, inputs, output):
            seen[name] = pick(inputs, output)

        if module is not None:
            hooks.append(module.register_forward_hook(hook))

    v1 = config.model_type == "pvt"
    for i in range(config.num_encoder_blocks):
        _hook_stage(model, v1, i, config.num_attention_heads[i], keep)
    if v1:
        keep("norm", model.pvt.encoder.layer_norm)
    keep("pooled", model.classifier, lambda inputs, _: inputs[0])
    try:
        with torch.no_grad():
            output = model(seen["pixel_values"], output_attentions=True, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    seen["logits"] = output.logits
    with torch.no_grad():
        return _finish(seen, config), output


def _hook_stage(model, v1, i, heads, keep):
    """Hooks on every module of stage i whose output our trace has a name for, in the order of the computation."""
    encoder = model.pvt.encoder if v1 else model.pvt_v2.encoder
    embedding = encoder.patch_embeddings[i] if v1 else encoder.layers[i].patch_embedding
    keep(f"stages.{i}.grid", embedding, lambda _, output: output[1:])
    keep(f"stages.{i}.patch_embed", embedding.layer_norm)
    keep(f"stages.{i}.tokens", embedding, lambda _, output: output[0])

    def split(_, output):
        return output.unflatten(-1, (heads, -1)).transpose(1, 2)

    for j, block in enumerate(encoder.block[i] if v1 else encoder.layers[i].blocks):
        name, core = f"stages.{i}.blocks.{j}", block.attention.self if v1 else block.attention
        keep(f"{name}.norm1", block.layer_norm_1)
        keep(f"{name}.attn.reduced", core.key, lambda inputs, _: inputs[0])
        keep(f"{name}.attn.q", core.query, split)
        keep(f"{name}.attn.k", core.key, split)
        keep(f"{name}.attn.v", core.value, split)
        keep(f"{name}.attn.scores")
        keep(f"{name}.attn.probs", core, lambda _, output: output[1])
        keep(f"{name}.attn", block.attention, lambda _, output: output[0])
        keep(f"{name}.residual1", block.layer_norm_2, lambda inputs, _: inputs[0])
        keep(f"{name}.norm2", block.layer_norm_2)
        keep(f"{name}.mlp.fc1", block.mlp.dense1)
        if not v1:
            keep(f"{name}.mlp.dwconv", block.mlp.dwconv)
        keep(f"{name}.mlp.act", block.mlp.intermediate_act_fn)
        keep(f"{name}.mlp", block.mlp)
        keep(name, block, lambda _, output: output[0])
    if not v1:
        keep(f"stages.{i}.norm", encoder.layers[i].layer_norm)
    keep(f"stages.{i}")


def _finish(seen, config):
    """The values as arrays, and what the modules do not show: the scores, and each stage's map."""
    for name, value in seen.items():
        if name.endswith(".scores"):
            q, k = seen[name[:-6] + "q"], seen[name[:-6] + "k"]
            value = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        elif value is None:  # stages.{i}: its last tokens as a map, without the class token
            i = int(name.split(".")[1])
            last = f"{name}.blocks.{config.depths[i] - 1}" if config.model_type == "pvt" else f"{name}.norm"
            H, W = seen[f"{name}.grid"]
            value = seen[last][:, -H * W :].transpose(1, 2).unflatten(2, (H, W))
        seen[name] = value
    return {name: value if isinstance(value, tuple) else value.numpy() for name, value in seen.items()}
