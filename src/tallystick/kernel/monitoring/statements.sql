-- deliveries_unfinished
-- How many deliveries are due, held or dead, counted up to a hundred thousand of each.
SELECT s.state, (SELECT count(*) FROM (
        SELECT FROM delivery d WHERE d.state = s.state AND d.created_at <= $1::timestamptz LIMIT 100000) AS counted) AS value
  FROM (VALUES ('due'), ('held'), ('dead')) AS s(state)
 ORDER BY s.state;

-- delivery_due_oldest
-- Seconds since the oldest due delivery should have been sent; 0 when none waits.
SELECT greatest(0, coalesce(extract(epoch FROM $1::timestamptz - min(d.due_at)), 0)) AS value
  FROM (SELECT due_at FROM delivery WHERE state = 'due' ORDER BY due_at LIMIT 1) AS d;

-- heartbeat_age
-- Seconds since a process last said that it runs the workers; no row before the first.
SELECT greatest(0, extract(epoch FROM $1::timestamptz - h.beat_at)) AS value
  FROM heartbeat h WHERE h.name = 'workers' ORDER BY h.name;

-- beat
-- Say that a process runs the workers.
INSERT INTO heartbeat AS h (name, beat_at) VALUES ('workers', $1::timestamptz)
    ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at WHERE h.beat_at < excluded.beat_at;
