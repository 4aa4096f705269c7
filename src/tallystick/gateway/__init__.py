"""The payment gateway: owns the payment, speaks a subset of Stripe's wire (DESIGN §5)."""
