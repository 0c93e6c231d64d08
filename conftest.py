"""What all tests share: `pytester`, with which our pytest plugin is tested from outside."""

pytest_plugins = ["pytester"]
