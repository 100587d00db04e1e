"""The process of a script: reads stdin and writes stdout as it would at a prompt, as the module `__main__`.

What it should have written never comes here: the user's process compares.
"""

from __future__ import annotations

import atexit
import io
import marshal
import os
import sys
import threading
import types
from collections.abc import Callable
from functools import partial
from typing import Any

from sandbox.candidate import set_seed
from sandbox.failures import guarded, text_of
from sandbox.rehearsal import PROGRAM_FILE
from sandbox.wire import Frames

FAILED = 1
MARK = b"\x1e"
"""Stands before what this module says on stderr about the script's end."""
_TEXT_LENGTH = 500


class _Stream(io.FileIO):
    """Ends the process when it writes and nobody reads: it has written more than the limit, and whatever the script
    does about the exception would only take time.
    """

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            os._exit(FAILED)


def main(stream: int, errors: int) -> None:
    """Run the code that comes first on `stream`; the rest of it is stdin, its other direction stdout."""
    seed, code = Frames(stream).receive_job()
    _open_standard_streams(stream, errors)
    set_seed(int(seed))
    os._exit(_run(marshal.loads(code), _main_module().__dict__))


def _open_standard_streams(stream: int, errors: int) -> None:
    for number, source in enumerate((stream, stream, errors)):
        os.dup2(source, number)
    os.close(stream)
    os.close(errors)
    files = {"stdin": _text(0, "r"), "stdout": _text(1, "w"), "stderr": _text(2, "w", line_buffering=True)}
    for name, file in files.items():
        setattr(sys, name, file)
        setattr(sys, f"__{name}__", file)


def _text(number: int, mode: str, *, line_buffering: bool = False) -> io.TextIOWrapper:
    raw = _Stream(number, mode, closefd=False)
    binary = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    errors = "backslashreplace" if number == 2 else "surrogateescape"
    return io.TextIOWrapper(binary, "utf-8", errors, newline="\n", line_buffering=line_buffering)


def _main_module() -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__file__ = PROGRAM_FILE
    sys.modules["__main__"] = module
    return module


def _run(code: types.CodeType, names: dict[str, Any]) -> int:
    """The exit code, after all that an interpreter does at its end: threads, exit functions, buffers, globals."""
    status = _status(lambda: exec(code, names))
    shutdown = threading._shutdown  # type: ignore[attr-defined]  # what the interpreter itself calls to wait for threads
    for step in (shutdown, atexit._run_exitfuncs, _flush, lambda: _forget(names), _flush):
        status = _status(step) or status
    return status


def _flush() -> None:
    for file in (getattr(sys, name, None) for name in ("stdout", "__stdout__", "stderr")):
        if file is not None and not getattr(file, "closed", False):
            file.flush()


def _forget(names: dict[str, Any]) -> None:
    """Let go of the globals, so that files which were never closed are written and `__del__` runs."""
    for name in list(names):
        if name != "__builtins__":
            names[name] = None


def _status(work: Callable[[], object]) -> int:
    try:
        work()
    except SystemExit as leave:
        return _exit_code(leave.code)
    except BaseException as error:  # whatever a script raises ends it, as at a prompt
        _say(guarded(partial(text_of, error)))
        return FAILED
    return 0


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    _say(f"exit code {FAILED}: {guarded(lambda: str(code))}")
    return FAILED


def _say(text: str) -> None:
    """One line on stderr, which the script may have closed, about its end."""
    line = " ".join(text[:_TEXT_LENGTH].split())
    try:
        os.write(2, b"\n%s%s\n" % (MARK, line.encode("utf-8", "backslashreplace")))
    except OSError:
        return
