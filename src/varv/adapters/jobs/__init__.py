"""What the executor `adapters.processes` is made of: the processes of one job, from birth to end.

The *owner* is the process that asked. It starts a *supervisor* (`supervisor`), a light process that forks the
*runner* (`runner`), in which the job's code runs, and that adopts and ends whatever the job leaves behind. On
the owner's side, `process` starts and ends such a pair, `output` reads what the job prints, `watching`
enforces its limits, `judging` turns its end into a result or an error, and `environment` says which variables
it sees. `wire` is what goes from one side to the other; `tree` knows the kernel's view of processes.
"""
