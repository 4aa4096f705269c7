"""The operators' pages of the merchant service, behind a login: one's account and the audit trail (RULES §12)."""
