"""`sandlot doctor --prove`: hostile functions, run by a real engine of their own.

scene      the engine, two tenants, and what there is to find on this machine
programs/  what the tenants deploy; they run in jails, and nothing imports them
attempts   what is tried, by which layers it should be stopped, and who judges it
"""
