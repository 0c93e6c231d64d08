"""Becomes a server that dies with its parent: run as a script, with the parent's process id and the command.

A script of its own, and not a function run between fork and exec, since a process with threads can't safely run
Python there.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Take the user's id, ask to be killed with the parent, and become the command."""
    parent, user, *command = sys.argv[1:]
    if user:
        import pwd  # not on every system, and only needed here

        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if sys.platform == "linux":
        # After the change of user, which would undo it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)  # it has died in the meantime
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted


if __name__ == "__main__":
    main()
