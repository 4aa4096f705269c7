-- due_deliveries
-- Deliveries that are due and that nobody is sending, longest due first, with the health of their endpoints, read without
-- a lock. Endpoints that have their share of places, or asked for time, are left out.
SELECT d.owner_id, d.livemode, d.id, d.generation, d.endpoint, h.width, h.failures, h.failing_since, h.reason,
       h.broken_until
  FROM delivery d
  LEFT JOIN endpoint_health h ON (h.owner_id, h.livemode, h.endpoint) = (d.owner_id, d.livemode, d.endpoint)
 WHERE d.state = 'due' AND d.due_at <= $1::timestamptz
   AND (d.lease_until IS NULL OR d.lease_until <= $1::timestamptz)
   AND d.endpoint <> ALL ($2::text[])
   AND (h.slowed_until IS NULL OR h.slowed_until <= $1::timestamptz)
 ORDER BY d.due_at, d.owner_id, d.id
 LIMIT $3::int;

-- claim_deliveries
-- Take the lease of deliveries that the caller saw as due; those that someone else took meanwhile are not returned.
-- Rows are to be found by their key. Were it written state = 'due', here or below, a plan made while nothing is due would
-- go by the index of due rows, and every claim would walk through the whole backlog once there is one.
UPDATE delivery d
   SET lease_until = $5::timestamptz, generation = d.generation + 1
  FROM unnest($1::text[], $2::text[], $3::int[]) AS seen(owner_id, id, generation)
 WHERE (d.owner_id, d.id, d.generation) = (seen.owner_id, seen.id, seen.generation)
   AND d.state NOT IN ('delivered', 'dead', 'held') AND (d.lease_until IS NULL OR d.lease_until <= $4::timestamptz)
RETURNING d.owner_id, d.livemode, d.id, d.generation, d.tries, d.message, d.endpoint, d.created_at, d.trace,
       (SELECT m.body FROM message m WHERE (m.owner_id, m.id, m.api_version) = (d.owner_id, d.message, d.api_version)) AS body;

-- record_results
-- Write down what became of claimed deliveries, and their tries; a holder whose lease was taken over writes nothing.
-- A try bears the number of the lease under which it was made. Gives what was recorded.
WITH result AS (
    SELECT r.*
      FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::timestamptz[], $6::text[], $7::timestamptz[],
                  $8::boolean[], $9::timestamptz[], $10::int[], $11::int[], $12::text[], $13::bytea[])
           AS r(owner_id, id, generation, state, due_at, reason, finished_at,
                tried, started_at, duration_ms, status, failure, answer)
), recorded AS (
    UPDATE delivery d
       SET state = r.state, due_at = coalesce(r.due_at, d.due_at), reason = r.reason, finished_at = r.finished_at,
           tries = d.tries + r.tried::int, lease_until = NULL
      FROM result r
     WHERE (d.owner_id, d.id, d.generation) = (r.owner_id, r.id, r.generation) AND d.state NOT IN ('delivered', 'dead', 'held')
    RETURNING d.owner_id, d.id, d.generation
), attempts AS (
    INSERT INTO delivery_attempt (owner_id, delivery, number, started_at, duration_ms, status, reason, answer)
    SELECT r.owner_id, r.id, r.generation, r.started_at, r.duration_ms, r.status, r.failure, r.answer
      FROM result r
      JOIN recorded USING (owner_id, id, generation)
     WHERE r.tried
)
SELECT owner_id, id FROM recorded;

-- release_deliveries
-- Give leases back unused, so that the next dispatcher need not wait for their end.
UPDATE delivery d
   SET lease_until = NULL
  FROM unnest($1::text[], $2::text[], $3::int[]) AS held(owner_id, id, generation)
 WHERE (d.owner_id, d.id, d.generation) = (held.owner_id, held.id, held.generation)
   AND d.state NOT IN ('delivered', 'dead', 'held');

-- lock_health
-- How some endpoints stand, locked for a change; those that are well may have no row.
SELECT h.owner_id, h.livemode, h.endpoint, h.width, h.failures, h.failing_since, h.reason, h.backoffs, h.backed_off_at,
       h.slowed_until, h.broken_until
  FROM endpoint_health h
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(owner_id, livemode, endpoint)
    ON (h.owner_id, h.livemode, h.endpoint) = (wanted.owner_id, wanted.livemode, wanted.endpoint)
 ORDER BY h.owner_id, h.livemode, h.endpoint
   FOR UPDATE OF h;

-- save_health
-- How some endpoints stand from now on. What waits for one that is slowed down is looked at by the keeper.
INSERT INTO endpoint_health (owner_id, livemode, endpoint, width, failures, failing_since, reason, backoffs, backed_off_at,
                             slowed_until, broken_until, keep_at)
SELECT h.*
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::int[], $6::timestamptz[], $7::text[], $8::int[],
              $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[])
       AS h(owner_id, livemode, endpoint, width, failures, failing_since, reason, backoffs, backed_off_at, slowed_until,
            broken_until, keep_at)
    ON CONFLICT (owner_id, livemode, endpoint) DO UPDATE
   SET width = excluded.width, failures = excluded.failures, failing_since = excluded.failing_since,
       reason = excluded.reason, backoffs = excluded.backoffs, backed_off_at = excluded.backed_off_at,
       slowed_until = excluded.slowed_until, broken_until = excluded.broken_until,
       keep_at = coalesce(endpoint_health.keep_at, excluded.keep_at);

-- ask_keeper
-- Let the keeper look at what waits for some endpoints, at a time or earlier.
INSERT INTO endpoint_health (owner_id, livemode, endpoint, keep_at)
SELECT h.owner_id, h.livemode, h.endpoint, $4::timestamptz
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS h(owner_id, livemode, endpoint)
    ON CONFLICT (owner_id, livemode, endpoint) DO UPDATE
   SET keep_at = excluded.keep_at
 WHERE endpoint_health.keep_at IS NULL OR endpoint_health.keep_at > excluded.keep_at;

-- restart_health
-- Endpoints that were enabled begin anew, narrow: what waits for them comes as a ramp.
INSERT INTO endpoint_health (owner_id, livemode, endpoint, width, keep_at)
SELECT h.owner_id, h.livemode, h.endpoint, 1, $4::timestamptz
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS h(owner_id, livemode, endpoint)
    ON CONFLICT (owner_id, livemode, endpoint) DO UPDATE
   SET width = 1, failures = 0, failing_since = NULL, reason = NULL, backoffs = 0, backed_off_at = NULL,
       slowed_until = NULL, broken_until = NULL, keep_at = excluded.keep_at;

-- standings
-- How endpoints stand that are not well, or have something held ($4), and how much waits for each; counted up to a limit.
SELECT h.owner_id, h.livemode, h.endpoint, h.width, h.failures, h.failing_since, h.reason, h.slowed_until, h.broken_until,
       due.waiting AS due, held.waiting AS held
  FROM endpoint_health h
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS waiting
         FROM (SELECT FROM delivery d
                WHERE (d.owner_id, d.livemode, d.endpoint) = (h.owner_id, h.livemode, h.endpoint)
                  AND d.state IN ('due', 'held', 'dead') AND d.state = $3::text AND d.due_at <= $1::timestamptz
                LIMIT $5::int) AS few) AS due
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS waiting
         FROM (SELECT FROM delivery d
                WHERE (d.owner_id, d.livemode, d.endpoint) = (h.owner_id, h.livemode, h.endpoint)
                  AND d.state IN ('due', 'held', 'dead') AND d.state = $4::text
                LIMIT $5::int) AS few) AS held
 WHERE (h.endpoint = $2::text OR $2::text IS NULL)
   AND (h.width IS NOT NULL OR h.failures > 0 OR h.slowed_until > $1::timestamptz OR h.broken_until > $1::timestamptz
        OR held.waiting > 0)
 ORDER BY h.owner_id, h.livemode, h.endpoint
 LIMIT $6::int;

-- due_keeps
-- Endpoints whose backlog is to be looked at, longest due first, read without a lock.
SELECT h.owner_id, h.livemode, h.endpoint, h.keep_at
  FROM endpoint_health h
 WHERE h.keep_at <= $1::timestamptz
 ORDER BY h.keep_at, h.owner_id, h.livemode, h.endpoint
 LIMIT $2::int;

-- claim_keeps
-- Lock endpoints whose backlog is being looked at, and say when it is looked at next; those that someone else has looked
-- at meanwhile are not returned.
UPDATE endpoint_health h
   SET keep_at = $5::timestamptz
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[]) AS seen(owner_id, livemode, endpoint, keep_at)
 WHERE (h.owner_id, h.livemode, h.endpoint, h.keep_at) = (seen.owner_id, seen.livemode, seen.endpoint, seen.keep_at)
RETURNING h.owner_id, h.livemode, h.endpoint;

-- end_keeps
-- Nothing waits for these endpoints any more.
UPDATE endpoint_health h
   SET keep_at = NULL
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS done(owner_id, livemode, endpoint)
 WHERE (h.owner_id, h.livemode, h.endpoint) = (done.owner_id, done.livemode, done.endpoint);

-- count_due
-- How many deliveries are due ($4) to some endpoints; counted up to a limit. The state is a parameter, here and below, so
-- that no plan goes by the index of what is due to everybody.
SELECT e.owner_id, e.livemode, e.endpoint, counted.due
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS e(owner_id, livemode, endpoint)
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS due
         FROM (SELECT FROM delivery d
                WHERE (d.owner_id, d.livemode, d.endpoint) = (e.owner_id, e.livemode, e.endpoint)
                  AND d.state IN ('due', 'held', 'dead') AND d.state = $4::text AND d.due_at <= $5::timestamptz
                ORDER BY d.due_at, d.id
                LIMIT $6::int) AS few) AS counted
 ORDER BY e.owner_id, e.livemode, e.endpoint;

-- waiting_of_endpoints
-- Some of what waits for endpoints in one state ($6) and is due by then ($7), longest waiting first: so many of each ($5),
-- after so many that are passed over ($4). What is being sent at this moment ($8) is left out.
SELECT e.owner_id, e.livemode, e.endpoint, few.id
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[], $5::int[]) AS e(owner_id, livemode, endpoint, passed, taken)
 CROSS JOIN LATERAL (
       SELECT d.id, d.due_at
         FROM delivery d
        WHERE (d.owner_id, d.livemode, d.endpoint) = (e.owner_id, e.livemode, e.endpoint)
          AND d.state IN ('due', 'held', 'dead') AND d.state = $6::text AND d.due_at <= $7::timestamptz
          AND (d.lease_until IS NULL OR d.lease_until <= $8::timestamptz)
        ORDER BY d.due_at, d.id
       OFFSET e.passed LIMIT e.taken) AS few
 ORDER BY e.owner_id, e.livemode, e.endpoint, few.due_at, few.id;

-- hold_deliveries
-- Hold deliveries that are still due and that nobody is sending.
UPDATE delivery d
   SET state = 'held', reason = $4::text, lease_until = NULL, generation = d.generation + 1
  FROM unnest($1::text[], $2::text[]) AS chosen(owner_id, id)
 WHERE (d.owner_id, d.id) = (chosen.owner_id, chosen.id) AND d.state NOT IN ('delivered', 'dead', 'held')
   AND (d.lease_until IS NULL OR d.lease_until <= $3::timestamptz);

-- release_held
-- Let held deliveries be due again, never before their time.
UPDATE delivery d
   SET state = 'due', reason = NULL, due_at = greatest(d.due_at, $3::timestamptz)
  FROM unnest($1::text[], $2::text[]) AS chosen(owner_id, id)
 WHERE (d.owner_id, d.id) = (chosen.owner_id, chosen.id) AND d.state NOT IN ('delivered', 'dead', 'due');

-- raise_alerts
-- Note that deliveries to endpoints became dead letters, for reasons that were not told yet.
INSERT INTO dead_letter_alert (owner_id, livemode, endpoint, reason, delivery, due_at, raised_at)
SELECT a.owner_id, a.livemode, a.endpoint, a.reason, a.delivery, a.raised_at, a.raised_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
       AS a(owner_id, livemode, endpoint, reason, delivery, raised_at)
    ON CONFLICT (owner_id, livemode, endpoint, reason) DO NOTHING;

-- due_alerts
-- What is to be told of dead letters, the oldest first, read without a lock.
SELECT a.owner_id, a.livemode, a.endpoint, a.reason, a.delivery, a.tries, a.raised_at
  FROM dead_letter_alert a
 WHERE a.due_at <= $1::timestamptz
 ORDER BY a.due_at, a.owner_id, a.livemode, a.endpoint, a.reason
 LIMIT $2::int;

-- claim_alert
-- Take an alert to tell it, unless somebody else took it meanwhile; should we die, it is told again at the lease's end.
UPDATE dead_letter_alert
   SET due_at = $6::timestamptz, tries = tries + 1
 WHERE owner_id = $1::text AND livemode = $2::boolean AND endpoint = $3::text AND reason = $4::text
   AND tries = $5::int AND due_at IS NOT NULL;

-- record_alert
-- Note that an alert was told, or when it is told again.
UPDATE dead_letter_alert
   SET due_at = $6::timestamptz
 WHERE owner_id = $1::text AND livemode = $2::boolean AND endpoint = $3::text AND reason = $4::text AND tries = $5::int;

-- rearm_alerts
-- Should deliveries to these endpoints die again, that is told again.
DELETE FROM dead_letter_alert a
 USING unnest($1::text[], $2::boolean[], $3::text[]) AS e(owner_id, livemode, endpoint)
 WHERE (a.owner_id, a.livemode, a.endpoint) = (e.owner_id, e.livemode, e.endpoint);

-- redrive_deliveries
-- Let dead letters be due again, with all their tries before them; the tries that were made stay in the record. While an endpoint is
-- broken nothing is sent to it, so its letters wait for that: whoever redrives them knows that there is something to hope for.
UPDATE delivery d
   SET state = 'due',
       due_at = greatest($3::timestamptz, (SELECT h.broken_until FROM endpoint_health h
                                            WHERE (h.owner_id, h.livemode, h.endpoint) = (d.owner_id, d.livemode, d.endpoint))),
       tries = 0, reason = NULL, finished_at = NULL, generation = d.generation + 1
  FROM unnest($1::text[], $2::text[]) AS chosen(owner_id, id)
 WHERE (d.owner_id, d.id) = (chosen.owner_id, chosen.id) AND d.state NOT IN ('delivered', 'due', 'held');

-- insert_redrive
-- A new redrive, which begins at once.
INSERT INTO redrive (id, state, filter, rate_max, matched, due_at, created_by, created_at)
VALUES ($1::text, 'running', $2::jsonb, $3::int, $4::int, $6::timestamptz, $5::text, $6::timestamptz);

-- find_redrive
-- One redrive as it stands.
SELECT r.id, r.state, r.filter, r.rate_max, r.matched, r.redriven, r.created_by, r.created_at, r.finished_at
  FROM redrive r
 WHERE r.id = $1::text;

-- list_redrives
-- The newest redrives first; their ids are in the order of their making.
SELECT r.id, r.state, r.filter, r.rate_max, r.matched, r.redriven, r.created_by, r.created_at, r.finished_at
  FROM redrive r
 ORDER BY r.id DESC
 LIMIT $1::int;

-- cancel_redrive
-- Stop a redrive that is running.
UPDATE redrive
   SET state = 'canceled', finished_at = $2::timestamptz, generation = generation + 1
 WHERE id = $1::text AND state = 'running';

-- due_redrives
-- Redrives whose next step is due, read without a lock.
SELECT r.id, r.generation, r.filter, r.rate_max, r.redriven, r.last_at, r.last_owner, r.last_id
  FROM redrive r
 WHERE r.state = 'running' AND r.due_at <= $1::timestamptz
 ORDER BY r.due_at, r.id
 LIMIT $2::int;

-- claim_redrive
-- Lock a redrive for its next step, and say when the one after is due; nothing where somebody else has taken it.
UPDATE redrive
   SET generation = generation + 1, due_at = $3::timestamptz
 WHERE id = $1::text AND generation = $2::int AND state = 'running';

-- record_redrive
-- How far a redrive has come.
UPDATE redrive
   SET redriven = redriven + $2::int, last_at = $3::timestamptz, last_owner = $4::text, last_id = $5::text,
       state = $6::text, finished_at = $7::timestamptz
 WHERE id = $1::text;
