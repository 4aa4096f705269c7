"""Checkout sessions and the pages on which shoppers pay: hosted, embedded, 3DS."""
