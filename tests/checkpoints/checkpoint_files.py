"""Files of checkpoints, made on the fly and damaged, and the sentence with which one is refused."""

import json

import pytest

from pvt_numpy.checkpoints.checkpoint import load_model
from pvt_numpy.checkpoints.safetensors_file import write_safetensors
from tests.checkpoints.models import state_dict


def bare_file(path, model, kind):
    """A state dict as a safetensors file without anything beside it."""
    write_safetensors(path, state_dict(model, kind), {}, "float32")
    return path


def write_raw(path, header, data=b""):
    """A safetensors file with this header (a dict, or bytes as they are) and these bytes behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_json(path, values):
    path.write_text(json.dumps(values), encoding="utf-8")


def rewrite(path, change):
    """Applies `change(header)` to a file's header, the arrays unchanged."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    change(header)
    return write_raw(path, header, raw[8 + size :])


def rewrite_config(path, **fields):
    """Changes fields of the configuration in one of our files."""

    def change(header):
        config = json.loads(header["__metadata__"]["config"])
        header["__metadata__"]["config"] = json.dumps(config | fields)

    return rewrite(path, change)


def refused(source, *words):
    """The one sentence with which loading `source` is refused; it starts with the file's name and has all `words`."""
    with pytest.raises(ValueError, match=".") as caught:
        load_model(source)
    message = str(caught.value)
    assert message.startswith(str(source)), message
    assert all(word in message for word in words), message
    assert "\n" not in message
    return message
