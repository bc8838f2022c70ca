"""How it is told: in the terminal while it goes (`live`), to Prometheus (`exposed`), and afterwards
as rows and as JSON (`told`), and as one HTML file that reads well on paper too (`page`, `plots`).
"""
