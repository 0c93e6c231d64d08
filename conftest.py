"""What all tests share: `pytester`, with which our pytest plugin is tested from outside, and hypothesis's settings."""

import os
import signal

from hypothesis import settings

pytest_plugins = ["pytester"]

# No test may pass, or say something else, by what an earlier one has left in the database of examples.
settings.register_profile("nothing is kept", database=None)
settings.load_profile("nothing is kept")

# What a shell starts in the background ignores Ctrl-C, and so would the commands that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests run beside each other, and have no processor to spare for a second process of each.
os.environ.setdefault("CHATHISTORY_PROCESSES", "1")
