"""The processes that make it happen: speakers, viewers and attackers, each with keys of its own.

`drive` starts them, one a core, and gathers their reports; `plan` is all that they say to each
other, and `post` how. `speakers` are a troupe of `person`s, on the clock; `audience` is a house of
viewers who count everything; `attackers` try what must fail; `relay` makes a reader slow; `latency`
counts; `alarm` and `ticks` are a process's time, exact for samples and shared for all else; `meter` reads
what the city's processes use; `knock` asks first whether there is a city. Nobody here judges.
"""
