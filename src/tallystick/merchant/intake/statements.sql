-- webhook_connection
-- What the intake must know of a connection to verify what comes for it.
SELECT c.merchant_id, c.connection_id, c.gateway, c.signature_scheme, c.webhook_secret_refs
  FROM connection c
 WHERE c.merchant_id = $1::text AND c.connection_id = $2::text AND c.disabled_at IS NULL;

-- look_up
-- For each webhook of a batch: whether it was stored before, and the order it is about, unlocked, where there is one. One by one
-- through the index, also by a plan that was made while the tables were small.
SELECT i.event_id IS NOT NULL AS known,
       o.merchant_id, o.order_id, o.connection_id, o.amount_minor, o.currency, o.declines_max, o.facts, o.version
  FROM json_to_recordset($1::json) AS w(place int, merchant_id text, connection_id text, event_id text, order_id text)
  LEFT JOIN LATERAL (
       SELECT i.event_id
         FROM inbox i
        WHERE (i.merchant_id, i.connection_id, i.event_id) = (w.merchant_id, w.connection_id, w.event_id)
        LIMIT 1) AS i ON true
  LEFT JOIN LATERAL (
       SELECT o.merchant_id, o.order_id, o.connection_id, o.amount_minor, o.currency, o.declines_max, o.facts, o.version
         FROM orders o
        WHERE (o.merchant_id, o.order_id) = (w.merchant_id, w.order_id)
        LIMIT 1) AS o ON true
 ORDER BY w.place;

-- due_webhooks
-- Webhooks that came to nothing so far and are to be tried again, the longest due first; read without locks.
SELECT i.merchant_id, i.connection_id, i.event_id, i.generation
  FROM inbox i
 WHERE i.due_at <= $1::timestamptz AND (i.lease_until IS NULL OR i.lease_until <= $1::timestamptz)
 ORDER BY i.due_at, i.merchant_id, i.connection_id, i.event_id
 LIMIT $2::int;

-- take_webhooks
-- Take the lease of webhooks that came to nothing so far; of those that someone else took meanwhile the generation has changed.
UPDATE inbox i
   SET lease_until = $1::timestamptz, generation = i.generation + 1, tries = i.tries + 1
  FROM unnest($2::text[], $3::text[], $4::text[], $5::int[]) AS seen(merchant_id, connection_id, event_id, generation)
  JOIN connection c ON (c.merchant_id, c.connection_id) = (seen.merchant_id, seen.connection_id)
 WHERE (i.merchant_id, i.connection_id, i.event_id, i.generation)
       = (seen.merchant_id, seen.connection_id, seen.event_id, seen.generation)
   AND i.state NOT IN ('applied', 'ignored')
RETURNING i.merchant_id, i.connection_id, i.event_id, i.generation, i.tries, i.raw, c.gateway, i.trace;

-- settle_webhooks
-- Write down what became of webhooks that were tried again; a holder whose lease was taken over writes nothing.
UPDATE inbox i
   SET state = held.state, error = held.error, due_at = held.due_at, lease_until = NULL
  FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::timestamptz[])
       AS held(merchant_id, connection_id, event_id, generation, state, error, due_at)
 WHERE (i.merchant_id, i.connection_id, i.event_id, i.generation)
       = (held.merchant_id, held.connection_id, held.event_id, held.generation);

-- list_webhooks
-- A page of the webhooks that came to nothing so far, of all merchants, those behind the cursor.
SELECT i.merchant_id, i.connection_id, i.event_id, i.type, i.order_id, i.state, i.error, i.tries, i.due_at, i.received_at
  FROM inbox i
 WHERE i.state IN ('parked', 'failed') AND ($1::text IS NULL OR i.state = $1::text)
   AND (i.merchant_id, i.connection_id, i.event_id) > ($2::text, $3::text, $4::text)
 ORDER BY i.merchant_id, i.connection_id, i.event_id
 LIMIT $5::int;

-- find_webhook
-- One webhook, whatever became of it, without its bytes.
SELECT i.merchant_id, i.connection_id, i.event_id, i.type, i.order_id, i.state, i.error, i.tries, i.due_at, i.received_at,
       i.generation
  FROM inbox i
 WHERE i.merchant_id = $1::text AND i.connection_id = $2::text AND i.event_id = $3::text;

-- watch_connections
-- Note that somebody watches over every connection. One that nobody watched for too long may have missed webhooks: its events are
-- wanted since then. New connections are watched from now on.
WITH known AS (
    UPDATE connection_watch w
       SET watched_at = $1::timestamptz,
           backfill_from = CASE WHEN w.watched_at < $3::timestamptz
                                THEN least(coalesce(w.backfill_from, w.watched_at), w.watched_at) - $4::int * interval '1 second'
                                ELSE w.backfill_from END,
           backfill_cursor = CASE WHEN w.watched_at < $3::timestamptz THEN NULL ELSE w.backfill_cursor END,
           due_at = CASE WHEN w.watched_at < $3::timestamptz THEN $1::timestamptz ELSE w.due_at END
     WHERE w.watched_at < $2::timestamptz
)
INSERT INTO connection_watch (merchant_id, connection_id, watched_at)
SELECT c.merchant_id, c.connection_id, $1::timestamptz
  FROM connection c
 WHERE c.disabled_at IS NULL
   AND NOT EXISTS (SELECT FROM connection_watch w WHERE (w.merchant_id, w.connection_id) = (c.merchant_id, c.connection_id))
 ORDER BY c.merchant_id, c.connection_id
    ON CONFLICT (merchant_id, connection_id) DO NOTHING;

-- want_backfills
-- A connection's events are wanted since a time, not before a pause since the last backfill; one that is under way goes on.
INSERT INTO connection_watch (merchant_id, connection_id, watched_at, backfill_from, due_at)
SELECT s.merchant_id, s.connection_id, $1::timestamptz, s.backfill_from, $1::timestamptz
  FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS s(merchant_id, connection_id, backfill_from)
 ORDER BY s.merchant_id, s.connection_id
    ON CONFLICT (merchant_id, connection_id) DO UPDATE
   SET backfill_from = least(coalesce(connection_watch.backfill_from, excluded.backfill_from), excluded.backfill_from),
       backfill_cursor = CASE WHEN excluded.backfill_from < connection_watch.backfill_from THEN NULL
                              ELSE connection_watch.backfill_cursor END,
       due_at = coalesce(connection_watch.due_at,
                         greatest($1::timestamptz, connection_watch.backfilled_at + $5::int * interval '1 second'));

-- due_backfills
-- Connections whose events are wanted and that nobody asks for yet; read without locks.
SELECT w.merchant_id, w.connection_id, w.generation
  FROM connection_watch w
 WHERE w.due_at <= $1::timestamptz AND (w.lease_until IS NULL OR w.lease_until <= $1::timestamptz)
 ORDER BY w.due_at, w.merchant_id, w.connection_id
 LIMIT $2::int;

-- take_backfills
-- Take the lease of backfills; those that someone else took meanwhile have another generation.
UPDATE connection_watch w
   SET lease_until = $1::timestamptz, generation = w.generation + 1, tries = w.tries + 1
  FROM unnest($2::text[], $3::text[], $4::int[]) AS seen(merchant_id, connection_id, generation)
 WHERE (w.merchant_id, w.connection_id, w.generation) = (seen.merchant_id, seen.connection_id, seen.generation)
RETURNING w.merchant_id, w.connection_id, w.generation, w.tries, w.backfill_from, w.backfill_cursor;

-- record_backfill
-- How far a backfill got: behind a cursor, with the next page due at a time, or at its end where that is null. A holder whose lease
-- was taken over writes nothing; one whose backfill was begun anew meanwhile leaves it at its beginning.
UPDATE connection_watch w
   SET backfill_cursor = CASE WHEN w.backfill_from = $5::timestamptz AND $7::timestamptz IS NOT NULL THEN $6::text END,
       due_at = CASE WHEN w.backfill_from = $5::timestamptz THEN $7::timestamptz ELSE w.due_at END,
       backfilled_at = CASE WHEN w.backfill_from = $5::timestamptz AND $7::timestamptz IS NULL THEN $4::timestamptz
                            ELSE w.backfilled_at END,
       backfill_from = CASE WHEN w.backfill_from = $5::timestamptz AND $7::timestamptz IS NULL THEN NULL ELSE w.backfill_from END,
       lease_until = NULL, tries = CASE WHEN $8::boolean THEN w.tries ELSE 0 END
 WHERE w.merchant_id = $1::text AND w.connection_id = $2::text AND w.generation = $3::int;

-- find_watch
-- How far a connection's events are known.
SELECT w.merchant_id, w.connection_id, w.watched_at, w.backfill_from, w.backfill_cursor, w.backfilled_at, w.due_at
  FROM connection_watch w
 WHERE w.merchant_id = $1::text AND w.connection_id = $2::text;


-- page_of_unapplied
-- A page of a merchant's webhooks that came to nothing so far and fit what is given, those behind the cursor.
SELECT i.merchant_id, i.connection_id, i.event_id, i.type, i.order_id, i.state, i.error, i.tries, i.due_at, i.received_at
  FROM inbox i
 WHERE i.merchant_id = $1::text AND i.state IN ('parked', 'failed') AND ($2::text IS NULL OR i.state = $2::text)
   AND ($3::text IS NULL OR i.type = $3::text) AND ($4::text IS NULL OR i.connection_id = $4::text)
   AND ($5::text IS NULL OR i.event_id = $5::text)
   AND ($6::timestamptz IS NULL OR i.received_at >= $6::timestamptz) AND ($7::timestamptz IS NULL OR i.received_at < $7::timestamptz)
   AND (i.connection_id, i.event_id) > ($8::text, $9::text)
 ORDER BY i.merchant_id, i.connection_id, i.event_id
 LIMIT $10::int;

-- count_unapplied
-- How many webhooks of a merchant came to nothing so far and fit what is given.
SELECT count(*)::int AS webhooks
  FROM inbox i
 WHERE i.merchant_id = $1::text AND i.state IN ('parked', 'failed') AND ($2::text IS NULL OR i.state = $2::text)
   AND ($3::text IS NULL OR i.type = $3::text) AND ($4::text IS NULL OR i.connection_id = $4::text)
   AND ($5::text IS NULL OR i.event_id = $5::text)
   AND ($6::timestamptz IS NULL OR i.received_at >= $6::timestamptz) AND ($7::timestamptz IS NULL OR i.received_at < $7::timestamptz);

-- let_unapplied_be_due
-- Some webhooks of a merchant that came to nothing so far and fit what is given, those behind the place, are due at a time: whoever works
-- on what is due tries each once more. Those that are due sooner stay so, and those that somebody holds are left to them.
UPDATE inbox i
   SET due_at = $8::timestamptz
  FROM (SELECT u.merchant_id, u.connection_id, u.event_id
          FROM inbox u
         WHERE u.merchant_id = $1::text AND u.state IN ('parked', 'failed') AND ($2::text IS NULL OR u.state = $2::text)
           AND ($3::text IS NULL OR u.type = $3::text) AND ($4::text IS NULL OR u.connection_id = $4::text)
           AND ($5::text IS NULL OR u.event_id = $5::text)
           AND ($6::timestamptz IS NULL OR u.received_at >= $6::timestamptz)
           AND ($7::timestamptz IS NULL OR u.received_at < $7::timestamptz)
           AND (u.due_at IS NULL OR u.due_at > $8::timestamptz)
           AND (u.lease_until IS NULL OR u.lease_until <= $8::timestamptz)
           AND (u.connection_id, u.event_id) > ($9::text, $10::text)
         ORDER BY u.merchant_id, u.connection_id, u.event_id
         LIMIT $11::int
           FOR NO KEY UPDATE OF u) AS these
 WHERE i.merchant_id = these.merchant_id AND i.connection_id = these.connection_id AND i.event_id = these.event_id
RETURNING i.connection_id, i.event_id;
