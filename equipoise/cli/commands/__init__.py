"""The commands of `equipoise`: one file each, found automatically. Files with a leading underscore are shared code.

The name of a command is the name of its file, with dashes for underscores; its summary is the first line of the file's
docstring. A command defines `add_arguments(parser)`, `run(args)`, which returns the exit code, and `ORDER`, its
position in the overview.
"""
