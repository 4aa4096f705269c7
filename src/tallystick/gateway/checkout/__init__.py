"""Checkout sessions: opened with their intent, paid on a page, ended by the merchant or by the clock."""
