"""How a run of `netlab test` is written down.

lines.py   a line for each result, as it comes
junit.py   JUnit's XML, for programs; and that of pytest, read back
page.py    one page of HTML, for people
style.py   how the page looks
"""
