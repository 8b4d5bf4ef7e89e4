"""What is done to bytes and to JSON, whatever they mean: hypothesis strategies for damage.

A JSON object is a list of (name, value) pairs here, so that a name can occur twice; `Raw` is text that stands in JSON
as it is, for what Python's own writer would not write. `strictly` reads JSON as its standard has it.
"""

import json

from hypothesis import strategies as st


class Raw(str):
    """Text that is put into JSON as it stands."""


HOSTILE = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, 10**30, 10**400, -(10**400), 0.5, -0.0, 1e-320, 1e300, 1e-6,
    "", "0", "pvt", "pvt_v2", "gelu", "relu", "a\nb", "\x1b[31mred", "<script>", "{0} %s", "\u202e", "../x", "x" * 5000,
    [], [[]], {}, {"": 0}, [1], [1, 1], [2, 2], [8, 16], [1, 1, 1, 1], [10**9] * 2, ["a"] * 3, [None] * 2,
    [0.5, 0.5, 0.5], {"height": 10**6, "width": 10**6}, {"shortest_edge": 10**400}, {"0": "a"},
]  # fmt: skip
AS_TEXT = [Raw(text) for text in (  # what Python's own writer would not write
    "NaN", "NaN", "[NaN]", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "01", "'a'", '{"a": 1, "a": 2}',
    '"\\ud800"', "[" * 900 + "]" * 900, "[" * 100_000 + "]" * 100_000, '{"a":' * 400 + "1" + "}" * 400,
    "[" * 60 + "]" * 60, "", "//",
)]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.sampled_from(HOSTILE) | st.sampled_from(AS_TEXT) | st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


def rendered(value):
    """JSON text of values, pairs and Raw."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(name)}: {rendered(inner)}" for name, inner in value) + "}"
    if isinstance(value, dict):
        return rendered(Pairs(value.items()))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(rendered, value)) + "]"
    return json.dumps(value)


class Pairs(list):
    """The (name, value) pairs of a JSON object, in order."""


@st.composite
def damaged_object(draw, values, most=3):
    """(Pairs, story): the dict `values` with up to `most` fields removed, replaced, bent, doubled or made up."""
    pairs, story = Pairs(values.items()), []
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, max(len(pairs) - 1, 0)))
        how = draw(st.sampled_from(["drop", "replace", "replace", "bend", "bend", "double", "unknown", "rename"]))
        if how == "unknown" or not pairs:
            name = draw(st.sampled_from(["", "x", "hidden_size", "model", "__class__", "n\nn"]) | st.text(max_size=9))
            pairs.append((name, draw(VALUES)))
        else:
            name, value = pairs[at]
            if how == "drop":
                del pairs[at]
            elif how == "replace":
                pairs[at] = name, draw(VALUES)
            elif how == "bend":
                pairs[at] = name, draw(bent(value))
            elif how == "double":
                pairs.insert(draw(st.integers(0, len(pairs))), (name, draw(st.just(value) | VALUES)))
            else:
                pairs[at] = draw(st.sampled_from([pair[0] for pair in pairs])), value
        story.append(f"{how} {name[:40]!r}" + (f" -> {str(pairs[at][1])[:60]!r}" if how in ("replace", "bend") else ""))
    return pairs, ", ".join(story) or "unchanged"


def bent(value):
    """`value` a little wrong: one element or a number changed, a text or list longer or shorter."""
    if isinstance(value, dict) and value:
        return damaged_object(value, most=1).map(lambda made: made[0])
    if isinstance(value, list | tuple) and value:
        one, other = st.integers(0, len(value) - 1), VALUES | bent(value[0]) | bent(value[0])
        return st.one_of(
            st.just(list(value[:-1])), st.just([*value, value[-1]]), st.just(list(value[::-1])),
            st.tuples(one, other).map(lambda at: [*value[: at[0]], at[1], *value[at[0] + 1 :]]),
        )  # fmt: skip
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18:
        return st.sampled_from([value + 1, value - 1, -value, value * 2, value / 2, str(value), 10**9, 2**40,
                                10**400, 1e300, 1e-300, 10**5])  # fmt: skip
    if isinstance(value, str):
        return st.sampled_from([value[:-1], value + "x", value.upper(), f" {value}", [value]])
    return VALUES


@st.composite
def damaged_text(draw, text):
    """(bytes, story): JSON text, mostly as it is, sometimes cut, flipped, or in another encoding."""
    data = text.encode()
    wrong = {"BOM": b"\xef\xbb\xbf" + data, "UTF-16": text.encode("utf-16"), "twice": data + data,
             "comment": b"// mine\n" + data, "Latin-1": data.replace(b"a", b"\xe4", 1)}  # fmt: skip
    how = draw(st.sampled_from(["as it is"] * 12 + ["bytes", *wrong]))
    return draw(damaged_bytes(data)) if how == "bytes" else (wrong.get(how, data), how)


@st.composite
def damaged_bytes(draw, data, places=()):
    """(bytes, story): up to three of: cut off, flipped, overwritten, removed, inserted, appended. `places`: where
    something begins or ends, at which damage is likelier to be believed."""
    story = []
    for _ in range(draw(st.integers(1, 3))):
        at = min(draw(st.integers(0, len(data)) | st.sampled_from([0, 1, 7, 8, 9, len(data), *places])), len(data))
        how = draw(st.sampled_from(["cut", "flip", "flip", "write", "write", "remove", "insert"]))
        if how == "cut":
            data = data[:at]
        elif how == "flip" and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
        else:
            new = draw(
                st.binary(min_size=1, max_size=8) | st.sampled_from([bytes(4), b"\xff" * 4, b"\x7f", bytes(900)])
            )
            data = data[:at] + (b"" if how == "remove" else new) + data[at if how == "insert" else at + len(new) :]
        story.append(f"{how} at {at}")
    return data, ", ".join(story)


def strictly(data):
    """The value that JSON `data` (bytes) stands for. Raises AssertionError for what no reader should take: no UTF-8,
    a name that occurs twice, NaN."""

    def once(pairs):
        assert len({name for name, _ in pairs}) == len(pairs), "a name occurs twice in the JSON"
        return dict(pairs)

    def never(constant):
        raise AssertionError(f"{constant} is not JSON")

    try:
        return json.loads(data.decode(), object_pairs_hook=once, parse_constant=never)
    except (ValueError, RecursionError) as error:
        raise AssertionError(f"this is not JSON: {error}") from None
