"""The operators' pages of the gateway, behind a login: what needs a person, readable without JavaScript (RULES §12)."""
