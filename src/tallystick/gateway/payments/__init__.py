"""Payment intents and their charges: the state machine, the commands, the routes."""
