"""The gateway port and its adapters: one for every wire that the merchant service speaks."""
