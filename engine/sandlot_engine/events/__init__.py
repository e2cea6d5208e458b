"""Events: kept on disk, run in turn, tried again, and told of when they are over.

`lanes`, `verdicts`, `lineage` and `records` are pure; `queue` and `delivering` are the
shells around them.
"""
