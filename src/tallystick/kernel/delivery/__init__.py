"""The delivery engine: messages to endpoints, claimed, signed, sent and recorded (RULES §6). Both services use it."""
