"""How much memory there is, asked before the work that would take it.

Left out: macOS and Windows, which do not tell it without a library; there the work is begun.
"""

import contextlib
import math
import re
from pathlib import Path

from .checks import wrong


def check_memory(name, found, needed, way_out=""):
    """Refuses work that needs more memory than there is: before it is asked for, and with both numbers."""
    if needed > (free := free_memory()):
        more = f"{found}, which need about {_amount(needed)} of memory"
        raise wrong(name, more, f"at most the {_amount(free)} that are free{way_out}")


def _amount(size):
    return f"{size / 1e9:,.1f} GB" if size < 1e10 else f"{size / 1e9:,.0f} GB"


def free_memory():
    """Bytes that this process may still take: of the machine, of its container, of `ulimit -v`; whichever is least."""
    free = [math.inf]
    with contextlib.suppress(OSError, TypeError):
        free.append(1024 * int(re.search(r"MemAvailable: *(\d+)", Path("/proc/meminfo").read_text())[1]))
    with contextlib.suppress(OSError, ValueError):  # "max" is no limit
        free.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    with contextlib.suppress(OSError, ImportError):
        import resource

        limit, has = resource.getrlimit(resource.RLIMIT_AS)[0], int(Path("/proc/self/statm").read_text().split()[0])
        if limit != resource.RLIM_INFINITY:
            free.append(limit - has * resource.getpagesize())
    return min(free)
