-- live_faults
-- The faults that may still strike, the oldest first.
SELECT f.id, f.place, f.kind, f.account_id, f.share_pct, f.calls_left, f.struck, f.delay_ms, f.operator, f.created_at
  FROM fault f
 WHERE f.calls_left IS NULL OR f.calls_left > 0
 ORDER BY f.created_at, f.id;

-- all_faults
-- All faults, spent ones too, the oldest first.
SELECT f.id, f.place, f.kind, f.account_id, f.share_pct, f.calls_left, f.struck, f.delay_ms, f.operator, f.created_at
  FROM fault f
 ORDER BY f.created_at, f.id;

-- insert_fault
-- Set a fault.
INSERT INTO fault (id, place, kind, account_id, share_pct, calls_left, delay_ms, operator, created_at)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::int, $6::int, $7::int, $8::text, $9::timestamptz);

-- strike
-- Have a fault strike once, unless all its calls are used up.
UPDATE fault f
   SET struck = f.struck + 1, calls_left = f.calls_left - 1
 WHERE f.id = $1::text AND (f.calls_left IS NULL OR f.calls_left > 0);

-- delete_faults
-- Clear one fault, or all where none is named.
DELETE FROM fault f WHERE $1::text IS NULL OR f.id = $1::text;
