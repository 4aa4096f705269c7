"""What an operator can see of a service: figures of its database, metrics of its processes (RULES §13)."""
