"""The core's commands. Heavy imports happen inside the commands, so that `vidi --help` is quick."""
