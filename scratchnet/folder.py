"""The folder of a run: one process at a time works in it, what was there before is kept, and a file is replaced as a
whole or not at all."""

import errno
import os
import platform
import stat
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from weakref import WeakValueDictionary
from zlib import crc32

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
        self.file = open(folder / ".scratchnet.lock", "a+", encoding="utf-8")  # noqa: SIM115 (is open as long as the claim lives)
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
    already to log.previous-2.csv, and so on. Nothing is overwritten. Gives the new names of the files renamed."""
    for k in count(1):
        mark = ".previous" + f"-{k}" * (k > 1)
        moves = [(path, path.with_name(path.stem + mark + path.suffix)) for path in paths]
        if not any(os.path.lexists(new) for _, new in moves):
            break
    moves = [(path, new) for path, new in moves if os.path.lexists(path)]
    for path, new in moves:
        os.rename(path, new)
    return [new for _, new in moves]


@contextmanager
def replacing(path):
    """A binary file to write into, which takes the place of `path` at once when all went well: the bytes go to a
    hidden file beside it, onto the disk, and only then is that file renamed. If it fails, `path` is as it was, and
    nothing is left behind; what a killed process left, the next one deletes. Through a symbolic link it is the link's
    target that is replaced. A file that was there hands on its permissions."""
    target = Path(os.path.realpath(path))
    temporary = _temporary(target)
    try:
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        _sweep(target)
        with open(temporary, "xb") as file:
            if target.is_file():
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
        raise
    _sync_folder(target.parent)


def _temporary(target, process=None):
    """Where this process writes what is to become `target`: a name that is ours alone, and short, as names may be 255
    bytes long."""
    return target.with_name(f".scratchnet-{crc32(os.fsencode(target.name)):08x}-{process or os.getpid()}.tmp")


def _sweep(target):
    """Delete what processes that are dead, or an earlier one of our number, left behind for this target."""
    for found in target.parent.glob(_temporary(target, "*").name):
        process = found.stem.rpartition("-")[2]
        if process.isdecimal() and (int(process) == os.getpid() or not _lives(int(process))):
            with suppress(OSError):  # Windows keeps a file that is open
                found.unlink()


def _lives(process):
    """Whether there is a process of this number, as far as the system tells."""
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it is another user's
    return True


def _sync_folder(folder):
    """Put the rename itself onto the disk; Windows has no such call."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
