"""Stripe's wire: parameters in, objects and errors out."""
