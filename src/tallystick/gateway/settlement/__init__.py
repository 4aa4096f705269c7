"""The end of a business day: what becomes available, what is paid out, and the report of both (RULES §10)."""
