"""The operators' pages of the merchant service, behind a login: what sells, hangs, must be decided (RULES §12)."""
