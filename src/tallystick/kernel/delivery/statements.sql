-- due_deliveries
-- Deliveries that are due and that nobody is sending, longest due first, read without a lock.
-- Endpoints that have their share of places are left out.
SELECT d.owner_id, d.livemode, d.id, d.generation, d.endpoint
  FROM delivery d
 WHERE d.state = 'due' AND d.due_at <= $1::timestamptz
   AND (d.lease_until IS NULL OR d.lease_until <= $1::timestamptz)
   AND d.endpoint <> ALL ($2::text[])
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
RETURNING d.owner_id, d.livemode, d.id, d.generation, d.tries, d.message, d.endpoint,
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
