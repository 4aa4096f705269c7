"""Webhooks in: verified on the raw bytes, stored and merged in one commit with many others, answered 200 after it."""
