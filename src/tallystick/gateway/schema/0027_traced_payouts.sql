-- A payout that a merchant asked for remembers the step of the trace in which it was: what becomes of it a day later is told there.

ALTER TABLE payout ADD COLUMN trace text;
