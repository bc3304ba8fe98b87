"""The folder of a run: one process at a time works in it, earlier files are kept, and a file is replaced atomically,
as a whole or not at all."""

import errno
import io
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
    """An open file with a lock on it. The system releases the lock when the file is closed or its process ends in any
    way, so a lock never outlives its owner and is never stale. The text of the file, "process 17 on host", is only for
    people."""

    def __init__(self, folder):
        self.file = open(folder / ".scratchnet.lock", "a+", encoding="utf-8")  # noqa: SIM115 (open as long as the claim)
        try:
            _lock(self.file)
        except (BlockingIOError, PermissionError) as error:
            self.file.seek(0)
            owner = self.file.read().strip() or "another process"
            self.file.close()
            raise FolderInUse(f"{folder}: {owner} is at work in this folder; wait until it ends, or choose another "
                              f"folder") from error
        except OSError:
            pass  # a file system without locks
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {platform.node()}")
        self.file.flush()


def _lock(file):
    if os.name == "nt":
        file.seek(1 << 30)  # a byte after the text, so that others may read the text
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_held = WeakValueDictionary()  # (process, folder) → its claim


def claim(folder):
    """Create the folder if necessary, and keep other processes out of it as long as the result lives. FolderInUse if
    one works in it already. The same process may claim a folder as often as it likes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key = os.getpid(), os.path.realpath(folder)
    found = _held.get(key)
    if found is None:
        found = _held[key] = _Claim(folder)
    return found


def set_aside(*paths):
    """Rename the files that exist, all with the same new number: log.csv to log.previous.csv, or if that exists, to
    log.previous-2.csv, and so on. Nothing is overwritten. Returns the new paths of the renamed files."""
    for k in count(1):
        mark = f".previous-{k}" if k > 1 else ".previous"
        moves = [(path, path.with_name(path.stem + mark + path.suffix)) for path in paths]
        if not any(os.path.lexists(new) for _, new in moves):
            break
    moves = [(path, new) for path, new in moves if os.path.lexists(path)]
    for path, new in moves:
        os.rename(path, new)
    return [new for _, new in moves]


class _State:
    writes = True


def write_nothing():
    """Let `replacing` write nothing from now on. Of several processes that do the same, only one writes."""
    _State.writes = False


def writes():
    """Whether this process writes files."""
    return _State.writes


@contextmanager
def replacing(path):
    """A binary file to write to, which replaces `path` atomically if all goes well: the bytes go to a hidden file
    beside it and onto the disk, and only then is that file renamed. If anything fails, `path` is unchanged and nothing
    is left behind; the next process deletes the remains of a killed one. Through a symbolic link, the link's target is
    replaced. The new file inherits the permissions of the old one."""
    if not _State.writes:
        yield io.BytesIO()
        return
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
    """The file that is to become `target`: a name used by this process alone, and short, as names of files are limited
    to 255 bytes."""
    return target.with_name(f".scratchnet-{crc32(os.fsencode(target.name)):08x}-{process or os.getpid()}.tmp")


def _sweep(target):
    """Delete the temporary files of this target that dead processes, or an earlier one with our number, left behind."""
    for found in target.parent.glob(_temporary(target, "*").name):
        process = found.stem.rpartition("-")[2]
        if process.isdecimal() and (int(process) == os.getpid() or not _lives(int(process))):
            with suppress(OSError):  # Windows does not delete an open file
                found.unlink()


def _lives(process):
    """Whether there is a process with this number, as far as the system tells."""
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it belongs to another user
    return True


def _sync_folder(folder):
    """Write the rename itself to the disk; Windows has no such call."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
