"""The fixtures of the package's own pytest plugin, wherever it is not installed as an entry point."""

from yumad.plugin.testing.pytest_plugin import dev_keys, play, swarm, yumad_clock

__all__ = ["dev_keys", "play", "swarm", "yumad_clock"]
