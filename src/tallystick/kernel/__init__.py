"""What both services need: identifiers, money, signatures, idempotency, batching, delivery."""
