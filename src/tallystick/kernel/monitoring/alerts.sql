-- last_round
-- When the alerts were last judged, whoever did it.
SELECT h.beat_at FROM heartbeat h WHERE h.name = 'alerts';

-- claim_round
-- Judge the alerts now, unless somebody has since the second time; until the commit nobody else does.
INSERT INTO heartbeat AS h (name, beat_at) VALUES ('alerts', $1::timestamptz)
    ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at WHERE h.beat_at <= $2::timestamptz;

-- processes
-- Which processes there are, and when each last said that it lives.
SELECT h.name, h.beat_at FROM heartbeat h WHERE h.name LIKE 'process %' ORDER BY h.name;

-- end_process
-- A process ends as it should; nobody waits for it any more.
DELETE FROM heartbeat h WHERE h.name = $1::text;

-- forget_processes
-- What has been silent for so long was taken away by somebody.
DELETE FROM heartbeat h WHERE (h.name LIKE 'process %' OR h.name LIKE 'counted by %') AND h.beat_at < $1::timestamptz;

-- add_counts
-- What a process counted since it last said so, added to what all have; nothing where it said just that before: it did not hear that it
-- was heard.
WITH said AS (
    INSERT INTO heartbeat AS h (name, beat_at) VALUES ($1::text, $2::timestamptz)
        ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at WHERE h.beat_at <> excluded.beat_at
    RETURNING h.name
)
INSERT INTO alert_count AS c (metric, bucket_at, labels, amount)
SELECT n.metric, $3::timestamptz, n.labels, n.amount
  FROM unnest($4::text[], $5::text[], $6::bigint[]) AS n(metric, labels, amount)
 WHERE EXISTS (SELECT FROM said)
 ORDER BY n.metric, n.labels
    ON CONFLICT (metric, bucket_at, labels) DO UPDATE SET amount = c.amount + excluded.amount;

-- counts_since
-- What metrics grew by within a window.
SELECT c.metric, c.labels, sum(c.amount)::bigint AS amount
  FROM alert_count c
 WHERE c.metric = ANY($1::text[]) AND c.bucket_at > $2::timestamptz AND c.bucket_at <= $3::timestamptz
 GROUP BY c.metric, c.labels
 ORDER BY c.metric, c.labels;

-- forget_counts
-- What no window looks back on any more.
DELETE FROM alert_count c WHERE c.metric = ANY($1::text[]) AND c.bucket_at < $2::timestamptz;

-- save_violations
-- What a round of checks found; of rules that are no more, nothing.
WITH gone AS (
    UPDATE alert_gauge g SET value = 0, seen_at = $4::timestamptz
     WHERE g.metric = $1::text AND g.labels <> ALL ($2::text[]) AND g.value <> 0
)
INSERT INTO alert_gauge (metric, labels, value, seen_at)
SELECT $1::text, n.labels, n.value, $4::timestamptz
  FROM unnest($2::text[], $3::bigint[]) AS n(labels, value)
 ORDER BY n.labels
    ON CONFLICT (metric, labels) DO UPDATE SET value = excluded.value, seen_at = excluded.seen_at;

-- gauges
-- What the last round of checks found.
SELECT g.metric, g.labels, g.value FROM alert_gauge g ORDER BY g.metric, g.labels;

-- lock_alerts
-- Every alert that there ever was: few, as rules are few.
SELECT a.name, a.about, a.state, a.since_at, a.clear_at, a.fired_at, a.ended_at
  FROM alert a
 ORDER BY a.name, a.about
   FOR UPDATE;

-- save_alerts
-- Alerts as they are now; of what is news, people are to be told.
INSERT INTO alert AS a (name, about, severity, state, since_at, clear_at, fired_at, ended_at, tell_at)
SELECT n.name, n.about, n.severity, n.state, n.since_at, n.clear_at, n.fired_at, n.ended_at,
       CASE WHEN n.news THEN $1::timestamptz END
  FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
              $9::timestamptz[], $10::boolean[])
       AS n(name, about, severity, state, since_at, clear_at, fired_at, ended_at, news)
 ORDER BY n.name, n.about
    ON CONFLICT (name, about) DO UPDATE
       SET severity = excluded.severity, state = excluded.state, since_at = excluded.since_at, clear_at = excluded.clear_at,
           fired_at = excluded.fired_at, ended_at = excluded.ended_at,
           tell_at = coalesce(excluded.tell_at, a.tell_at),
           tries = CASE WHEN excluded.tell_at IS NULL THEN a.tries ELSE 0 END;

-- untold_alerts
-- What people are to be told now, the oldest first, read without a lock.
SELECT a.name, a.about, a.severity, a.state, a.fired_at, a.ended_at, a.tries
  FROM alert a
 WHERE a.tell_at <= $1::timestamptz
 ORDER BY a.tell_at, a.name, a.about
 LIMIT $2::int;

-- claim_news
-- Take an alert to tell it as it is, unless somebody else took it meanwhile; should we die, it is told again at the lease's end.
UPDATE alert
   SET tell_at = $5::timestamptz, tries = tries + 1
 WHERE name = $1::text AND about = $2::text AND state = $3::text AND tries = $4::int AND tell_at IS NOT NULL;

-- record_news
-- Note that an alert was told, or when it is told again; if it became something else meanwhile, that is told all the same.
UPDATE alert
   SET tell_at = $5::timestamptz
 WHERE name = $1::text AND about = $2::text AND state = $3::text AND tries = $4::int;

-- alerts_firing
-- How many alerts fire, by rule.
SELECT a.name AS alert, a.severity, count(*) AS value
  FROM alert a
 WHERE a.state = 'firing' AND a.fired_at <= $1::timestamptz
 GROUP BY a.name, a.severity
 ORDER BY a.name;
