"""Merchants, their API keys and their connections to gateways."""
