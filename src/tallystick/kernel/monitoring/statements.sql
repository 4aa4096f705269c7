-- deliveries_unfinished
-- How many deliveries are due, held or dead, counted up to a hundred thousand of each. States are written out: for an expression
-- PostgreSQL does not see that the index of unfinished deliveries has them all, and walks those that arrived as well.
SELECT s.state, s.value
  FROM (VALUES ('due', (SELECT count(*) FROM (SELECT FROM delivery WHERE state = 'due' AND created_at <= $1::timestamptz
                                               LIMIT 100000) AS due)),
               ('held', (SELECT count(*) FROM (SELECT FROM delivery WHERE state = 'held' LIMIT 100000) AS held)),
               ('dead', (SELECT count(*) FROM (SELECT FROM delivery WHERE state = 'dead' LIMIT 100000) AS dead)))
       AS s(state, value)
 ORDER BY s.state;

-- delivery_due_oldest
-- Seconds since the oldest due delivery should have been sent; 0 when none waits.
SELECT greatest(0, coalesce(extract(epoch FROM $1::timestamptz - min(d.due_at)), 0)) AS value
  FROM (SELECT due_at FROM delivery WHERE state = 'due' ORDER BY due_at LIMIT 1) AS d;

-- heartbeat_age
-- Seconds since a process last said that it runs the workers, whatever its kind; no row before the first.
SELECT greatest(0, extract(epoch FROM $1::timestamptz - max(h.beat_at))) AS value
  FROM heartbeat h WHERE h.name LIKE 'workers%' HAVING count(*) > 0;

-- workers_silent
-- Seconds since a process of each kind last said that it runs the workers. A kind that was silent for a day was taken away.
SELECT substr(h.name, length('workers ') + 1) AS kind, greatest(0, extract(epoch FROM $1::timestamptz - h.beat_at)) AS value
  FROM heartbeat h
 WHERE h.name LIKE 'workers %' AND h.beat_at > $1::timestamptz - interval '1 day'
 ORDER BY h.name;

-- end_beat
-- The last process that said so ends as it should, as far as it knows: another one says it again in a moment.
DELETE FROM heartbeat h WHERE h.name = $1::text;

-- beat
-- Say that somebody lives: whoever runs the workers, or a process by its name.
INSERT INTO heartbeat AS h (name, beat_at) VALUES ($1::text, $2::timestamptz)
    ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at WHERE h.beat_at < excluded.beat_at;
