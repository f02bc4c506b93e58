"""The core of nextbest: deciding the best thing to do next for one customer at one moment.

What computes lives here and is pure: clock, randomness and counters come in as arguments. What touches the world lives
in `nextbest.adapters`; what a person types lives in `nextbest.commands`. Nothing here imports an orchestrator, a
warehouse, a feature store, a model registry or a web server.
"""

__version__ = "0.1.0"
