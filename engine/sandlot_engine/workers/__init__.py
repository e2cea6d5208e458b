"""Worker processes: the warm path on more than one core.

    client ──► worker ──► instance      what is warm: nobody else is asked
                 │
                 └─ forward ─► core     everything else, as it came

The *core* is the engine as it is without workers: catalog, scheduler, store, launcher.
A *worker* has a gateway of its own on the same ports. It checks keys, runs invocations
on instances that the core has *lent* it, and tells what came of each before the answer
leaves. See `docs/decisions/0020-workers.md`.
"""
