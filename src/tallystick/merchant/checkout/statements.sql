-- insert_orders
-- New orders, each PENDING with its first attempt and the first row of its timeline.
WITH placed AS (
    SELECT *
      FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::jsonb[], $9::jsonb[],
                  $10::text[], $11::text[], $12::text[], $13::int[], $14::int[], $15::jsonb[], $16::jsonb[], $17::timestamptz[],
                  $18::text[], $19::bytea[], $20::timestamptz[], $21::timestamptz[], $22::timestamptz[], $23::text[])
           AS u(merchant_id, order_id, connection_id, customer_id, reference, amount_minor, currency, line_items, metadata,
                return_url, cancel_url, ui_mode, ttl_s, declines_max, facts, fact, expires_at,
                open_key, open_request, gateway_expires_at, created_at, look_at, trace)
), attempts AS (
    INSERT INTO attempt (merchant_id, order_id, number, connection_id, open_key, open_request, gateway_expires_at, due_at, created_at,
                         trace)
    SELECT p.merchant_id, p.order_id, 1, p.connection_id, p.open_key, p.open_request, p.gateway_expires_at, p.look_at, p.created_at,
           p.trace
      FROM placed p
), lines AS (
    INSERT INTO timeline (merchant_id, order_id, number, at, source, attempt, fact, state_before, state_after)
    SELECT p.merchant_id, p.order_id, 1, p.created_at, 'merchant', 1, p.fact, 'PENDING', 'PENDING'
      FROM placed p
)
INSERT INTO orders (merchant_id, order_id, connection_id, customer_id, reference, amount_minor, currency, line_items, metadata,
                    return_url, cancel_url, ui_mode, ttl_s, declines_max, facts, attempt_newest, expires_at, version,
                    created_at, updated_at)
SELECT p.merchant_id, p.order_id, p.connection_id, p.customer_id, p.reference, p.amount_minor, p.currency, p.line_items, p.metadata,
       p.return_url, p.cancel_url, p.ui_mode, p.ttl_s, p.declines_max, p.facts, 1, p.expires_at, 1,
       p.created_at, p.created_at
  FROM placed p
 ORDER BY p.merchant_id, p.order_id;

-- name_newcomers
-- Orders come to name these newcomers, in this commit: whoever was about to forget them sees it. Gives those who are still there.
WITH held AS (
    SELECT n.merchant_id, n.customer_id
      FROM newcomer n
      JOIN unnest($1::text[], $2::text[]) AS u(merchant_id, customer_id) ON (n.merchant_id, n.customer_id) = (u.merchant_id, u.customer_id)
     ORDER BY n.merchant_id, n.customer_id
       FOR UPDATE OF n
)
UPDATE newcomer n
   SET due_at = $3::timestamptz
  FROM held h
 WHERE (n.merchant_id, n.customer_id) = (h.merchant_id, h.customer_id)
RETURNING n.merchant_id, n.customer_id;

-- load_attempt
-- What is needed to open an attempt's session once more, or to look at it.
SELECT a.merchant_id, a.order_id, a.number, a.connection_id, a.state, a.open_key, a.open_request, a.checkout_session, a.trace
  FROM attempt a
 WHERE a.merchant_id = $1::text AND a.order_id = $2::text AND a.number = $3::int;

-- lock_order
-- An order that is to be paid again, locked: as it stands, and what its next session is opened for.
SELECT o.merchant_id, o.order_id, o.connection_id, o.state, o.attempt_newest, o.amount_minor, o.currency, o.line_items, o.reference,
       o.ui_mode, o.ttl_s
  FROM orders o
 WHERE o.merchant_id = $1::text AND o.order_id = $2::text
 ORDER BY o.merchant_id, o.order_id
   FOR NO KEY UPDATE OF o;

-- insert_attempt
-- A further attempt of an order, which lives as long as it.
WITH renewed AS (
    UPDATE orders o
       SET expires_at = $9::timestamptz, due_at = NULL
     WHERE o.merchant_id = $1::text AND o.order_id = $2::text
    RETURNING o.merchant_id, o.order_id, o.connection_id
)
INSERT INTO attempt (merchant_id, order_id, number, connection_id, open_key, open_request, gateway_expires_at, due_at, created_at,
                     trace)
SELECT r.merchant_id, r.order_id, $3::int, r.connection_id, $4::text, $5::bytea, $6::timestamptz, $7::timestamptz, $8::timestamptz,
       $10::text
  FROM renewed r;
