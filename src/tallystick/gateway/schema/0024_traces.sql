-- What outlives a request remembers which step of a trace made it (RULES §13): as W3C's `traceparent` has it, or nothing where
-- nobody follows. Nothing is decided by it.

ALTER TABLE payment_intent ADD COLUMN trace text;
ALTER TABLE event ADD COLUMN trace text;
ALTER TABLE delivery ADD COLUMN trace text;
