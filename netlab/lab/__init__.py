"""Plan -> Lab: the one place where sandbox and machines meet.

The map::

lab.py        open_lab: images, capacity, sandbox, wiring, machines; the live Lab
node.py       one node: its states, from waiting for a boot slot to stopped
events.py     what happens, as it happens
capacity.py   what a plan asks for against what the host has, before anything starts
folders.py    where a lab keeps its lock, its socket and its logs; which labs there are
records.py    errors as JSON and back
main.py       the lab process: one plan, one lab, until it is told to stop
api.py        its control API: HTTP and WebSocket over a Unix socket
start.py      starts a lab process and follows it until its nodes are ready
client.py     the control API's client, light enough for `netlab exec`
"""
