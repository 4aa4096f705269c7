"""The double-entry ledger: every movement of money, posted in the transaction of the change that caused it (RULES
§10)."""
