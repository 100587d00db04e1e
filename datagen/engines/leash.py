"""Kills a model's processes when this one dies, however it dies.

vLLM's engine runs in a process of its own that outlives a killed parent and keeps the memory, so that the next run
finds none. A shell of a few hundred KB waits on a pipe that only this process holds open: when the pipe closes, by
`kill -9` too, it kills what it was told to hold.
"""

from __future__ import annotations

import contextlib
import subprocess

_SCRIPT = 'pids=; while read -r pid; do pids="$pids $pid"; done; [ -z "$pids" ] || kill -9 $pids'


class Leash:
    """Holds process ids: `pull` kills them, as the death of this process does; `drop` lets them go."""

    def __init__(self) -> None:
        # A session of its own: a Ctrl-C at the terminal must not reach the shell.
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def hold(self, pid: int) -> None:
        """Adds a process."""
        assert self._shell.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the shell was killed from outside: nothing left to tell
            self._shell.stdin.write(b"%d\n" % pid)

    def pull(self) -> None:
        """Kills what is held."""
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait()

    def drop(self) -> None:
        """Lets go of what is held, for processes that ended by themselves."""
        self._shell.kill()
        self.pull()
