"""Reads queues for functions: event source mappings of SQS.

Pure: which source a mapping has (`sources`), what a record is (`records`), which
messages are chosen (`filters`), what is a batch (`batches`), what an answer means
(`answers`), how many at once and when again (`pace`). Around them: an endpoint's queues
(`queues`, `settling`), whose turn it is to ask them (`turns`), one mapping (`reader`),
all of them (`poller`).
"""
