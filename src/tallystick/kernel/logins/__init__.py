"""Logins: people, their passwords, and who is logged in to a service's pages for operators (RULES §12)."""
