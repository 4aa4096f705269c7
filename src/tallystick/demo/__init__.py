"""The demo: a shop, scripted shoppers, and the stack started and stopped around them (`tallystick demo`)."""
