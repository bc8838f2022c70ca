"""Scripted citizens: stories and recordings played into a city, judged and told; benchmarks and
results.

`story` says what is to happen, `swarm` makes it happen, `judge` says what came of it, `report`
tells it; `play` and `replay` are the two runs, `commands` the command line, `scripted` the city's
own extras. Rooms import only those before them. Nothing here is imported by a service, and it
speaks to a city only through its one port; `bench` alone also drives cores by themselves and
publishes on a bus of its own.
"""
