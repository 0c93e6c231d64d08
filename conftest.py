"""What all tests share: `pytester`, with which our pytest plugin is tested from outside, and hypothesis's settings."""

from hypothesis import settings

pytest_plugins = ["pytester"]

# No test may pass, or say something else, by what an earlier one has left in the database of examples.
settings.register_profile("nothing is kept", database=None)
settings.load_profile("nothing is kept")
