"""Plan -> Lab: the one place where sandbox and machines meet.

The map::

lab.py        open_lab: images, capacity, sandbox, wiring, machines; the live Lab
access.py     what a lab offers to who uses it, in this process or another
node.py       one node: its states, from waiting for a boot slot to stopped
endings.py    which ends of its machine were asked for
events.py     what happens, as it happens
frames.py     what passes a link
capacity.py   what a plan asks for against what the host has, before anything starts
promises.py   memory that labs were promised
folders.py    where a lab keeps its lock, its socket and its logs; which labs there are
plans.py      the plan of a lab, read from its folder
records.py    errors as JSON and back
main.py       the lab process: one plan, one lab, until it is told to stop
service.py    what it serves, from its first moment on
api.py        its control API: HTTP and WebSocket over a Unix socket; node_api.py, program_api.py:
              nodes, and programs in them; requests.py: what all routes have in common
describe.py   a lab and its nodes as JSON
start.py      starts a lab process and follows it until its nodes are ready
client.py     the control API's client, light enough for `netlab exec`
connection.py the same on Trio; remote.py, remote_node.py: a lab in another process
attach.py     a node's console on this terminal
"""
