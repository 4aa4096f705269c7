"""What must always be true: the shape of its rules, the comparison of both halves, and the worker that checks."""
