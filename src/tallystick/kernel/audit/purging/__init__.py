"""Taking from the audit trail what is older than it must be kept.

A room of its own, because its statement runs as the owner of the tables: services only ever add to the trail.
"""
