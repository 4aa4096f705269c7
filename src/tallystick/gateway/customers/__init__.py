"""Customers of merchants: shoppers who come back, and the cards that they saved."""
