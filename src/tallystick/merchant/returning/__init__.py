"""Where the gateway sends the shopper back to: a page that polls and shows the truth, and never decides (RULES §4)."""
