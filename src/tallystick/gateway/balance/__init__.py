"""What a merchant has: balance transactions and the balance, as the ledger tells them."""
