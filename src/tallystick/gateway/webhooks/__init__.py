"""Webhooks out: endpoints, events, their deliveries."""
