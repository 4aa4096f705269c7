"""What operators do about a payment: give money back, give it up, ask the bank now."""
