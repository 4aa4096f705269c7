"""The merchant service: owns the order (DESIGN §1)."""
