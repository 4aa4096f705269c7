"""The operators' pages of both services: login, one's own account, the audit trail. A service adds pages of its own."""
