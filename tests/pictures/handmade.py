"""TIFF, PNG, PNM and FITS files put together byte by byte from known samples: no library has a say in their pixels."""

import struct
import zlib

import numpy as np


def packed(samples, bits, order=">"):
    """The bytes of whole numbers (rows, n), each row filled up to whole bytes; the first sample in the highest bits."""
    if bits in (8, 16, 32):
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    ones = samples[..., None] >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(ones.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def tiff(samples, bits, photometric, order="<", planar=1, deflated=False, tags=()):
    """A TIFF with the samples (H, W, C); `tags`: number -> values of more entries, such as 339 for SampleFormat."""
    H, W, C = samples.shape
    planes = [samples[..., c] for c in range(C)] if planar == 2 else [samples.reshape(H, W * C)]
    strips = [packed(plane, bits, order) for plane in planes]
    strips = [zlib.compress(strip) if deflated else strip for strip in strips]
    starts = 8 + np.cumsum([0, *map(len, strips)])
    entries = {256: (4, [W]), 257: (4, [H]), 258: (3, [bits] * C), 259: (3, [8 if deflated else 1]),
               262: (3, [photometric]), 273: (4, starts[:-1].tolist()), 277: (3, [C]), 278: (4, [H]),
               279: (4, [len(strip) for strip in strips]), 284: (3, [planar])}  # fmt: skip
    entries |= {number: (3, list(values)) for number, values in dict(tags).items()}
    far = starts[-1] + starts[-1] % 2  # where values lie that do not fit into their entry
    table, rest = b"", b""
    at = far + 2 + 12 * len(entries) + 4
    for number, (kind, values) in sorted(entries.items()):
        value = struct.pack(f"{order}{len(values)}{'HI'[kind == 4]}", *values)
        if len(value) > 4:
            rest, value = rest + value, struct.pack(f"{order}I", at + len(rest))
        table += struct.pack(f"{order}HHI", number, kind, len(values)) + value.ljust(4, b"\0")
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, far)
    body = b"".join(strips).ljust(far - 8, b"\0")
    return head + body + struct.pack(f"{order}H", len(entries)) + table + bytes(4) + rest


def png(samples, bits, colour, **chunks):
    """A PNG with the samples (H, W, C); `chunks`, such as tRNS, stand before the pixels."""
    H, W, C = samples.shape
    rows = packed(samples.reshape(H, W * C), bits)
    rows = np.frombuffer(rows, np.uint8).reshape(H, -1)
    parts = {"IHDR": struct.pack(">IIBBBBB", W, H, bits, colour, 0, 0, 0), **chunks,
             "IDAT": zlib.compress(np.insert(rows, 0, 0, axis=1).tobytes()), "IEND": b""}  # fmt: skip
    named = [(name.encode() + data, len(data)) for name, data in parts.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", n) + body + struct.pack(">I", zlib.crc32(body)) for body, n in named)  # fmt: skip


def pnm(samples, most, plain=False):
    """A PGM or PPM with the samples (H, W, 1 or 3), whose white is `most`."""
    H, W, C = samples.shape
    head = f"P{2 + C // 2 + 3 * (not plain)} {W} {H} {most}\n".encode()
    if plain:
        return head + " ".join(map(str, samples.ravel())).encode()
    return head + packed(samples.reshape(H, W * C), 8 if most < 256 else 16)


def fits(samples, bits):
    """A FITS of whole numbers (H, W, 1), as astronomers write it."""
    H, W, _ = samples.shape
    header = {"SIMPLE": "T", "BITPIX": bits, "NAXIS": 2, "NAXIS1": W, "NAXIS2": H}
    cards = "".join(f"{name:<8}= {value!s:>20}".ljust(80) for name, value in header.items()) + "END"
    body = samples.astype({8: ">u1", 16: ">i2", 32: ">i4"}[bits]).tobytes()
    return cards.ljust(2880).encode() + body.ljust(-(-len(body) // 2880) * 2880, b"\0")
