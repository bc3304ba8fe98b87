"""The folder of a run: one process at a time works in it, and what was there before is kept."""

import os
import platform
from itertools import count
from pathlib import Path
from weakref import WeakValueDictionary

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt


class FolderInUse(RuntimeError):
    """Another process works in this folder; the message names both."""


class _Claim:
    """An open file with a lock on it. The system takes the lock back when the file is closed or its process ends,
    however it ends: a lock never outlives its owner, so none has to be judged stale. What the file says, "process 17
    on host", is for people only."""

    def __init__(self, folder):
        self.file = open(folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 (is open as long as the claim lives)
        try:
            _lock(self.file)
        except (BlockingIOError, PermissionError) as error:
            self.file.seek(0)
            owner = self.file.read().strip() or "another process"
            self.file.close()
            raise FolderInUse(f"{folder}: {owner} is at work in this folder; wait for its end, or choose another "
                              f"folder") from error
        except OSError:
            pass  # a file system without locks
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {platform.node()}")
        self.file.flush()


def _lock(file):
    if os.name == "nt":
        file.seek(1 << 30)  # a byte behind the text, which others may then read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_held = WeakValueDictionary()  # (process, folder) → its claim


def claim(folder):
    """Make the folder if need be, and keep other processes out of it as long as the result lives. FolderInUse if one
    is in it. The same process may claim a folder as often as it likes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key = os.getpid(), os.path.realpath(folder)
    found = _held.get(key)
    if found is None:
        found = _held[key] = _Claim(folder)
    return found


def set_aside(*paths):
    """Rename the files that are there, all with the same new number: log.csv to log.previous.csv, or if there is one
    already to log.previous-2.csv, and so on. Nothing is overwritten."""
    for k in count(1):
        mark = ".previous" + f"-{k}" * (k > 1)
        moves = [(path, path.with_name(path.stem + mark + path.suffix)) for path in paths]
        if not any(os.path.lexists(new) for _, new in moves):
            break
    for path, new in moves:
        if os.path.lexists(path):
            os.rename(path, new)
