"""Starts a command that cannot outlive its parent. The supervisor runs it as a script, with the standard library alone:

    python -I -S tether.py PARENT_PID COMMAND ARGUMENT…

The kernel kills a tethered process in the moment in which its parent ends, even when the parent had no time to say so
(kill -9). This has to happen between fork and exec: a `preexec_fn` would run Python in a forked copy of a process that
may have threads, which is not safe, so a small program of its own does it and then becomes the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>; kept over exec


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, give it a process group of its own, become the command."""
    parent_pid, command = int(arguments[0]), arguments[1:]
    # SIGKILL and not SIGTERM: nothing may stay behind, and every process of ours may die at any statement anyway.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:  # it died before the tether was tied
        sys.exit(0)
    # Its own group, so that Ctrl-C in a terminal reaches the supervisor alone, which stops things in the right order.
    os.setpgid(0, 0)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
