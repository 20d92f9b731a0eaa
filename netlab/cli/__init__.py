"""The command line: one file a verb, imported when it is asked for.

``main.py`` is the entry and holds the one handler for all errors; ``verbs.py`` is the table of
verbs; ``frame.py`` is what every verb is made with; ``complete.py`` is completion. The rest are the
verbs, and what several of them share.
"""
