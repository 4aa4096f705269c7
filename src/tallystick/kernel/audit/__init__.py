"""The audit trail: every act of an operator, with who, what, on what, when, from where and how it ended (RULES §12).

Append-only. An act is noted before it is done, and is not done where it cannot be noted; its outcome is noted after.
"""
