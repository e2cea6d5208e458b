"""Invocation traces: Azure's of 2019 as it was published, others that are made like it.

`azure`       reads and writes its three kinds of files
`generator`   makes a trace with the published marginals
`keep_alive`  what a policy would have kept, and what it would have missed
`replay`      arrivals for a real engine, out of a part of a trace
"""
