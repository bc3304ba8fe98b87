"""Freed arrays are kept for the next ones.

By default the C library gives every large block back to the system when it is freed, and the system hands out pages
filled with zeros, one fault for each 4 kB. A training step makes and frees the same large arrays again and again.
So, where the C library is glibc, blocks of up to 32 MB (the most it allows) are from now on taken from the heap, and
the heap is not given back. The process holds on to the most memory that it has needed. Who has set
MALLOC_MMAP_THRESHOLD_ or MALLOC_TRIM_THRESHOLD_ has decided already.
"""

import contextlib
import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt, in <malloc.h>


def keep_freed_blocks():
    """Set glibc's thresholds; elsewhere do nothing."""
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
