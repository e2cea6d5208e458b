"""This machine: its launcher, the zygotes of its function versions, their instances."""
