"""The world that a zygote builds around itself for its children: which files there are, which rules hold, who they run
as, and the temporary folder, fresh for every round.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder

import sandbox.child as child
import sandbox.folders as folders
import sandbox.kernel as kernel
import sandbox.landlock as landlock
import sandbox.library as library
import sandbox.limits as limits
import sandbox.namespaces as namespaces
import sandbox.seccomp as seccomp

_HIGH = 10
MOUNTED, HOST, COPIED, UNOPENED = "mounted", "host", "copied", "unopened"
"""Which files a program can reach: those of a root made of mounts; the host's, so far as Landlock lets it; those of a
root that is a folder with copies; none.
"""
SYSTEM_PATHS = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/lib", "/lib64", "/usr/share/zoneinfo")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a zygote is started: the level to reach, a folder of its own for levels without mounts, packages to offer."""

    level: str
    folder: str
    packages: list[str]
    coordinator: int
    without: list[str]  # layers to leave out, for tests and measurements
    processor: int | None  # to stay on


class Enclosure:
    """One zygote's isolation. `fence` is what a child needs to be put behind it; `others`, how many processes of a
    round the kernel counts against the program's limit, None where it counts all of the user's.
    """

    fence: child.Fence

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._without = settings.without
        self._identity = None if "identity" in settings.without else _identity(settings)
        self._files = _files(settings, self._identity)
        self._above = _parent(settings.folder)
        self._tmp, self._site = _places(self._files, settings.folder)
        self._tmp_path = os.fsencode(self._tmp)
        self._tmp_mb = 16
        self._rules: int | None = None
        self.others = _counted(settings.level, self._identity)

    def preload(self) -> None:
        """Import what programs use, where they will have no files to import it from."""
        if self._files == UNOPENED:
            library.preload()

    def enter(self) -> None:
        """Move this process in, all but the locks; OSError names what the machine refuses."""
        self._layers = self._isolate()
        self._limits = () if "rlimits" in self._without else limits.common()
        self._filter = seccomp.enter(seccomp.zygote_filter(seccomp.machine()))
        self._own = os.pidfd_open(os.getpid())
        self.fence = child.fence(self._layers, self._own)
        self._clean = self._fingerprint()

    def lock(self) -> None:
        """The rest, which takes away what only preparations need, and next to no memory; OSError as for `enter`."""
        kernel.make_all(self._limits)
        try:
            if "filter" not in self._without:
                kernel.make(self._filter)
        except OSError:
            if self._settings.level != "unsafe":
                raise
            self._layers = replace(self._layers, filtered=False)
            self.fence = child.fence(self._layers, self._own)

    def leave(self) -> None:
        """The coordinator is gone: so is everything that was for it."""
        if self._settings.folder:
            os.fchdir(self._above)  # the way back, where this process has moved into a root of its own
            folders.remove(os.path.basename(self._settings.folder))
        os._exit(0)

    def resize(self, size_mb: int) -> None:
        if self._settings.level == "L0" and size_mb != self._tmp_mb:
            self._tmp_mb = size_mb
            self._renew()

    def wipe(self) -> None:
        """Another temporary folder if anything was done to this one, a mere look included: its times tell."""
        if self._fingerprint() != self._clean:
            self._renew()

    def _fingerprint(self) -> tuple[bytes, list[str]]:
        """What tells whether anything was done in the temporary folder. Times alone do not: a kernel's clock for files
        may stand still for some milliseconds. In memory a folder's size counts its entries; elsewhere they have to be
        listed.
        """
        names = [] if self._files == MOUNTED else os.listdir(self._tmp)
        return kernel.state_of(self._tmp_path), names  # afterwards, for reading the folder may change a time once

    def _renew(self) -> None:
        """A fresh temporary folder, for one that was only emptied would keep its size, which can say something."""
        os.chdir("/")
        if self._settings.level == "L0":
            namespaces.unmount_tmp()
            namespaces.mount_tmp(self._tmp_mb)
        else:
            folders.empty(self._tmp)
            os.rmdir(self._tmp)
            self._make_tmp()
        os.chdir(self._tmp)
        self._clean = self._fingerprint()
        self._make_rules(required=False)
        self._layers = replace(self._layers, rules=self._rules)
        self.fence = child.fence(self._layers, self._own)

    def _isolate(self) -> child.Layers:
        level = self._settings.level
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # a wish: when memory runs out, programs go first
        readable = [*SYSTEM_PATHS, os.path.dirname(os.path.dirname(os.__file__))]
        if level == "L0":
            namespaces.enter_namespaces()
            namespaces.build_root(_outermost(readable), self._settings.packages, _hidden(), self._tmp_mb)
        elif self._files == COPIED:
            self._change_root()
        else:
            self._prepare_folder()
        kernel.make(kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
        self._readable = ["/"] if level == "L0" else [*readable, *self._settings.packages, self._site]
        self._make_rules(required=level == "L1")
        os.chdir(self._tmp)
        self._offer_modules()
        return child.Layers(
            new_pids=level == "L0" and "pids" not in self._without,
            identity=self._identity,
            rules=self._rules,
            filtered="child-filter" not in self._without,
            host_files=self._files in (HOST, UNOPENED),
            opens=self._files != UNOPENED,
        )

    def _change_root(self) -> None:
        root = os.path.join(self._settings.folder, "root")
        library.build_root(root, self._settings.packages, namespaces.DEVICES)
        os.chroot(root)
        self._make_tmp()

    def _offer_modules(self) -> None:
        if self._files == UNOPENED:  # an import says then that there is no such module, not that it must not be read
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not PathFinder]
        else:
            sys.path[:] = [*sys.path, self._site]

    def _prepare_folder(self) -> None:
        self._make_tmp()
        os.mkdir(self._site)
        for package in self._settings.packages:
            os.symlink(package, os.path.join(self._site, os.path.basename(package)))
        if self._identity is not None:
            os.chmod(self._settings.folder, 0o711)
        os.environ["TMPDIR"] = os.environ["HOME"] = self._tmp

    def _make_tmp(self) -> None:
        os.mkdir(self._tmp)
        if self._files == COPIED:  # the zygote's own, so that no program changes its mode and times
            os.chmod(self._tmp, 0o1777)
            return
        os.chmod(self._tmp, 0o700)
        if self._identity is not None:
            folders.give(self._tmp, self._identity)

    def _make_rules(self, *, required: bool) -> None:
        if self._rules is not None:
            os.close(self._rules)
        if "landlock" in self._without or self._settings.level == "L2":
            self._rules = None
        elif landlock.version():
            self._rules = landlock.ruleset(self._readable, [self._tmp], list(namespaces.DEVICES))
        elif required:
            raise OSError("this kernel has no Landlock (Linux 5.13 or later, enabled at boot)")


def kept(descriptor: int) -> int:
    """The same under a number that no child uses for itself, and closed under the old one."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(descriptor)
    return high


def _outermost(paths: list[str]) -> list[str]:
    """Without those that lie below another."""
    return [path for path in paths if not any(path != other and path.startswith(f"{other}/") for other in paths)]


def _hidden() -> list[str]:
    """Folders of other people's packages inside the standard library's."""
    library = os.path.dirname(os.__file__)
    return [os.path.join(library, name) for name in ("site-packages", "dist-packages")]


def _identity(settings: Settings) -> int | None:
    """The user that children become: needs root's rights, and a library and a folder that others can reach."""
    if os.geteuid() != 0:
        return None
    if settings.level == "L0":
        return namespaces.INSIDE_ID
    chosen = namespaces.outside_id(os.getpid())
    above = [os.path.dirname(os.__file__), os.path.dirname(settings.folder)]
    reachable = settings.level == "L2" or all(map(_open_to_all, above))
    return chosen if reachable and _may_become(chosen) else None


def _may_become(user: int) -> bool:
    """Whether this process may hand a child over to `user` and still end it: some containers' root may not."""
    helper = os.fork()
    if helper == 0:
        with suppress(OSError):
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            os._exit(0)
        os._exit(1)
    os.waitid(os.P_PID, helper, os.WEXITED | os.WNOWAIT)
    may_end = True
    try:
        os.kill(helper, 0)
    except PermissionError:
        may_end = False
    return os.waitpid(helper, 0)[1] == 0 and may_end


def _files(settings: Settings, identity: int | None) -> str:
    """How a zygote of that level keeps its children from the host's files."""
    if settings.level == "L0":
        return MOUNTED
    if settings.level != "L2":
        return HOST
    return COPIED if identity is not None and library.may_move_below(settings.folder) else UNOPENED


def _places(files: str, folder: str) -> tuple[str, str]:
    """Where the temporary folder and the packages are, seen from inside."""
    if files == MOUNTED:
        return namespaces.TMP, namespaces.SITE
    if files == COPIED:
        return library.TMP, library.SITE
    return os.path.join(folder, "tmp"), os.path.join(folder, "site")


def _parent(folder: str) -> int:
    """A descriptor of what lies above the folder; children close it before anything of a program runs."""
    if not folder:
        return -1
    return kept(os.open(os.path.dirname(folder), os.O_PATH | os.O_DIRECTORY))


def _open_to_all(path: str) -> bool:
    above = [path[:end] for end in range(1, len(path) + 1) if path[end : end + 1] in ("/", "")]
    return all(os.stat(folder).st_mode & 0o001 for folder in above)


def _counted(level: str, identity: int | None) -> int | None:
    """How many processes of a round the kernel counts against the program's limit; None where it counts all of the
    user's.
    """
    if identity is not None:
        return 2
    return 3 if level == "L0" else None
