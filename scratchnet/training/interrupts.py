"""Ctrl-C and other signals: noted while a step runs, heeded between two steps."""

import signal
import sys
import threading
from contextlib import contextmanager, suppress

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(SystemExit):
    """The run was told to stop, by Ctrl-C or a signal, and has saved."""


@contextmanager
def noted_signals(world):
    """A list in which Ctrl-C, SIGTERM and SIGHUP are noted instead of ending the program. A second one stops at once,
    in all processes of the world."""
    signals = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def note(number, _):
        if signals and number == signal.SIGINT:
            raise KeyboardInterrupt("stopped at once; the last checkpoint stands")
        if signals and world.size > 1:
            world.end(f"stopped at once by signal {number}", 128 + number)
        if signals:
            raise Stopped(128 + number)
        signals.append(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = [number for number in SIGNALS if number == signal.SIGINT or before[number] != signal.SIG_IGN]  # nohup
    try:
        for number in heeded:
            signal.signal(number, note)
        yield signals
    finally:
        for number in heeded:
            signal.signal(number, before[number] or signal.SIG_DFL)


def stop(number, line, quiet=False):
    """End with one line, or none if quiet: after Ctrl-C with exit code 1, after a signal with 128 + its number, as
    shells do."""
    if number == signal.SIGINT:
        raise Stopped(1 if quiet else line)
    with suppress(OSError):  # the terminal may be gone
        if not quiet:
            print(line, file=sys.stderr, flush=True)
    raise Stopped(128 + number)
