"""Keep the memory of freed arrays for the next ones.

By default the C library returns every large block to the system when it is freed, and the system hands out pages
filled with zeros, with one page fault for each 4 kB. A training step makes and frees the same large arrays again and
again. So we tell glibc to take blocks of up to 32 MB (the most it allows) from the heap, and to keep the heap. The
process then holds on to the most memory that it has ever needed. If MALLOC_MMAP_THRESHOLD_ or MALLOC_TRIM_THRESHOLD_ is
set, that choice stands.
"""

import contextlib
import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt, in <malloc.h>


def keep_freed_blocks():
    """Set glibc's thresholds. With another C library, do nothing."""
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
