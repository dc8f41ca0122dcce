"""Requests that nobody means well: `make fuzz` sends them to a server in processes of its own.

Its files are not collected with the others, since what they need has an environment of its own; what they
send is in `mutations`, of which the usual tests send less to the same code in their own process.
"""
