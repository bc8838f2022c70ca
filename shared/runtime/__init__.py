"""The one runner of every service: loop, signals, task group, drain, health, metrics, logs, settings.

It decides nothing about people. `runner.run` is the whole `__main__` of a service. Nothing is imported
here: whoever wants the clock (a command of the terminal, say) would wait for the whole bus.
"""
