"""Pictures of a plan: pure functions from a plan to text.

``model.py`` says what is drawn, ``layout.py`` where, and ``mermaid.py``, ``dot.py`` and ``svg.py``
in which language. The same plan gives the same bytes everywhere.
"""
