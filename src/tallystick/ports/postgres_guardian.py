"""The process between us and the embedded PostgreSQL server: lets the server start, and not outlive us.

Run as a script by ports/postgres.py, with the standard library alone:

    postgres_guardian.py run COMMAND …                become unprivileged, then exec (initdb)
    postgres_guardian.py guard PARENT_PID COMMAND …   become unprivileged, start the server, stay until one of them ends

PostgreSQL refuses to run as uid 0. Root therefore gets a user namespace of its own, in which the same files belong to
an ordinary user; where the kernel or a container forbids that, root gives the folder to that user and becomes it.

Why a process that stays, when the kernel can signal a child at its parent's death (PR_SET_PDEATHSIG)? That signal comes
when the *thread* that started the child ends, so a server started from a worker thread would die with the thread. The
guardian waits for the parent *process* by a pidfd and gives the server PR_SET_PDEATHSIG towards its own one thread.
"""

import contextlib
import ctypes
import os
import pwd
import select
import signal
import sys
import time

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522

FAST_SHUTDOWN = signal.SIGINT  # clients are cut off, a checkpoint is written
IMMEDIATE_SHUTDOWN = signal.SIGQUIT  # no checkpoint; the next start recovers from the log
FAST_SHUTDOWN_S = 20.0  # a checkpoint of a full buffer on a slow disk takes seconds
IMMEDIATE_SHUTDOWN_S = 5.0  # PostgreSQL itself kills what is left after five seconds
POLL_S = 0.5  # how often the parent is looked at where the system has no pidfd


def main(arguments: list[str]) -> int:
    """Run in one of the two modes; gives the exit code."""
    mode, *rest = arguments
    if mode == "run":
        become_unprivileged()
        os.execv(rest[0], rest)
    return guard(int(rest[0]), rest[1:])


def guard(parent: int, command: list[str]) -> int:
    """Run `command` until it ends, or stop it when `parent` ends or SIGTERM comes. Gives the exit code."""
    parent_ended = _pidfd(parent)
    if os.getppid() != parent:  # it died before we looked: the pidfd may be another process's
        return 1
    become_unprivileged()

    wake_up, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(signal_number, lambda *_: None)

    guardian = os.getpid()
    server = os.fork()
    if server == 0:
        _become_server(guardian, command)

    poll = select.poll()
    poll.register(wake_up, select.POLLIN)
    if parent_ended is not None:
        poll.register(parent_ended, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll(None if parent_ended is not None else POLL_S * 1000)}
        received = os.read(wake_up, 64) if wake_up in ready else b""
        code = _ended(server)
        if code is not None:
            return code
        if (
            parent_ended in ready
            or os.getppid() != parent
            or any(signal_number in received for signal_number in (signal.SIGTERM, signal.SIGINT))
        ):
            return _stop(server)


def _become_server(guardian: int, command: list[str]) -> None:
    """In the forked child: default signals, death with the guardian, then the server's own program. Never returns."""
    try:
        for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(signal_number, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(FAST_SHUTDOWN), 0, 0, 0)
        if os.getppid() == guardian:
            os.execv(command[0], command)
    finally:
        os._exit(1)


def _stop(server: int) -> int:
    for signal_number, patience_s in (
        (FAST_SHUTDOWN, FAST_SHUTDOWN_S),
        (IMMEDIATE_SHUTDOWN, IMMEDIATE_SHUTDOWN_S),
        (signal.SIGKILL, IMMEDIATE_SHUTDOWN_S),
    ):
        os.kill(server, signal_number)
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            code = _ended(server)
            if code is not None:
                return code
            time.sleep(0.01)
    return 1


def _ended(server: int) -> int | None:
    """The server's exit code, or None while it runs."""
    pid, status = os.waitpid(server, os.WNOHANG)
    return None if pid == 0 else abs(os.waitstatus_to_exitcode(status))


def _pidfd(process: int) -> int | None:
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):  # not Linux, or a kernel before 5.3
        return None


def become_unprivileged() -> None:
    """Stop being uid 0 in PostgreSQL's eyes. Also for a uid without a name, which initdb refuses."""
    user = os.geteuid()
    if user != 0 and _has_name(user):
        return
    ordinary = _ordinary_user()
    try:
        _enter_user_namespace(ordinary)
    except OSError:
        if user != 0:
            raise
        _give_folder_to(ordinary.pw_uid, ordinary.pw_gid)
        _become(ordinary)


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _ordinary_user() -> pwd.struct_passwd:
    """A user that is not root and has a name; nobody where there is one."""
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        return next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)


def _enter_user_namespace(seen_as: pwd.struct_passwd) -> None:
    """From now on our user and group are called `seen_as`; what we may do to files stays as it was. Raises OSError."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if user == 0:
        _give_folder_to(user, group)  # it may be the ordinary user's from a start without namespaces
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{seen_as.pw_uid} {user} 1"),
        ("gid_map", f"{seen_as.pw_gid} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _become(user: pwd.struct_passwd) -> None:
    """Root becomes `user`.

    The right to pass folders that only root may enter is kept, because the program itself often lies in one (/root).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    with contextlib.suppress(AttributeError):
        mask = 1 << CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
        if libc.capset(header, data) == 0:
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def _give_folder_to(user: int, group: int) -> None:
    """Root gives the current folder, with all that is in it, to `user`."""
    for folder, _, files in os.walk("."):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            if os.lstat(path).st_uid != user:
                os.chown(path, user, group, follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
