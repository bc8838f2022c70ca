"""`synchronia load play`: one run of a story. `commands` is the command line, `run` shares a
story's people and viewers out over processes and has them driven and judged.
"""
