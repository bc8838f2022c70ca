"""Scripted citizens: stories, the player of recordings, the city's own extras, benchmarks and results.

Nothing here is imported by a service. It speaks to a city only through its one port; `bench` alone also
drives cores by themselves and publishes on a bus of its own.
"""
