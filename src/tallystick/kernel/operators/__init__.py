"""Operators: who runs a service. Their keys, and the JSON API under /operator/v1 that they hold them for (DESIGN §5).

Both services use it, each with its own tables: an operator belongs to an installation and to no owner in it.
"""
