"""`tallystick doctor`: looks at an installation as it stands, and says in a sentence what to do about each fault."""
