"""Scripted citizens: the player of recordings, the city's own extras, benchmarks and their results.

Nothing here is imported by a service; it speaks to a city only through its one port.
"""
