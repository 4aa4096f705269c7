-- due_attempts
-- Attempts whose time has come and that nobody holds, the longest due first; read without locks.
SELECT a.merchant_id, a.order_id, a.number, a.generation
  FROM attempt a
 WHERE a.due_at <= $1::timestamptz
   AND (a.lease_until IS NULL OR a.lease_until <= $1::timestamptz)
 ORDER BY a.due_at, a.merchant_id, a.order_id, a.number
 LIMIT $2::int;

-- take_attempts
-- Take the lease of attempts that the caller saw as due; those that someone else took meanwhile have another generation.
-- Rows are to be found by their key: were due_at compared here too, a plan made while nothing is due would go by the index of
-- due rows, and every claim would walk through the whole backlog once there is one.
UPDATE attempt a
   SET lease_until = $1::timestamptz, generation = a.generation + 1, tries = a.tries + 1
  FROM unnest($2::text[], $3::text[], $4::int[], $5::int[]) AS seen(merchant_id, order_id, number, generation)
  JOIN orders o ON (o.merchant_id, o.order_id) = (seen.merchant_id, seen.order_id)
 WHERE (a.merchant_id, a.order_id, a.number, a.generation) = (seen.merchant_id, seen.order_id, seen.number, seen.generation)
   AND a.state NOT IN ('closed', 'succeeded')
RETURNING a.merchant_id, a.order_id, a.number, a.generation, a.tries, a.connection_id, a.state, a.checkout_session, a.open_key,
          a.open_request, a.close_reason, a.close_number, a.created_at, o.expires_at, a.gateway_expires_at, a.trace;

-- reschedule
-- Let go of attempts that have not ended: due again later, under a fresh key where the gateway said no. An attempt that someone
-- else holds by now is left alone.
UPDATE attempt a
   SET due_at = held.due_at, lease_until = NULL, close_number = a.close_number + held.close_step
  FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::timestamptz[], $6::int[])
       AS held(merchant_id, order_id, number, generation, due_at, close_step)
 WHERE (a.merchant_id, a.order_id, a.number, a.generation) = (held.merchant_id, held.order_id, held.number, held.generation)
   AND a.state NOT IN ('closed', 'succeeded');

-- due_orders
-- Orders that nobody tried to pay and whose time is over, the longest due first, those behind the cursor; read without locks.
SELECT o.due_at, o.merchant_id, o.order_id, o.version
  FROM orders o
 WHERE o.due_at <= $1::timestamptz AND (o.due_at, o.merchant_id, o.order_id) > ($2::timestamptz, $3::text, $4::text)
   AND o.attempt_newest = 0 AND o.state = 'PENDING'
 ORDER BY o.due_at, o.merchant_id, o.order_id
 LIMIT $5::int;

-- expire_orders
-- End orders that nobody tried to pay, with a line in the timeline of each, and an errand where the shop's stock is told of it.
-- Those that changed meanwhile are left alone. Gives the orders that were ended. They are locked in id order, one by one through
-- the index.
WITH held AS MATERIALIZED (
    SELECT u.*
      FROM (SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[]) AS s(merchant_id, order_id, version)
             ORDER BY s.merchant_id COLLATE "C", s.order_id COLLATE "C") AS u
     CROSS JOIN LATERAL (
           SELECT FROM orders o
            WHERE (o.merchant_id, o.order_id, o.version) = (u.merchant_id, u.order_id, u.version)
              AND o.attempt_newest = 0 AND o.state = 'PENDING'
              FOR NO KEY UPDATE) AS still
), ended AS (
    UPDATE orders o
       SET facts = $5::jsonb, state = 'EXPIRED', due_at = NULL, version = h.version + 1, updated_at = $1::timestamptz
      FROM held h
     WHERE (o.merchant_id, o.order_id) = (h.merchant_id, h.order_id)
), lines AS (
    INSERT INTO timeline (merchant_id, order_id, number, at, source, attempt, fact, state_before, state_after)
    SELECT h.merchant_id, h.order_id, h.version + 1, $1::timestamptz, 'expiry', 0, $6::jsonb, 'PENDING', 'EXPIRED'
      FROM held h
), errands AS (
    INSERT INTO errand (merchant_id, order_id, kind, attempt, due_at, created_at)
    SELECT h.merchant_id, h.order_id, 'release', 0, $1::timestamptz, $1::timestamptz
      FROM held h
      JOIN merchant m ON m.merchant_id = h.merchant_id
     WHERE m.stock_url IS NOT NULL
)
SELECT h.merchant_id, h.order_id FROM held h ORDER BY h.merchant_id, h.order_id;
