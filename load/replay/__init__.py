"""`synchronia load replay`: one run of recordings. `commands` is the command line, `run` the run."""
