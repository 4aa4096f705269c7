"""What Tallystick is measured with: a light load client, controls as others would write them, figures in JSON.

Everything that is compared is run in the same session, in turns, on the same two cores and the same durable PostgreSQL.
`python -m benchmarks webhooks|intents|orders|all`; `deliveries`, `expiry`, `reconciliation`, `console` and
`gateway_console` are commands of their own, such as `python -m benchmarks.expiry`; `python -m benchmarks.figures` runs
them all.
"""
