-- order_before_lock
-- Through which connection an order is paid, and what is known of its payment. The connection never changes, so it is read before
-- the lock: whoever holds one must not wait for another database connection.
SELECT o.connection_id, o.currency, o.keeper, o.facts FROM orders o WHERE o.merchant_id = $1::text AND o.order_id = $2::text;

-- lock_refundable
-- An order that money is to be given back of, locked.
SELECT o.merchant_id, o.order_id, o.state, o.currency, o.keeper, o.facts
  FROM orders o
 WHERE o.merchant_id = $1::text AND o.order_id = $2::text
 ORDER BY o.merchant_id, o.order_id
   FOR NO KEY UPDATE OF o;

-- asked_refunds
-- The number of the next refund of an order that is locked, and what earlier ones asked for that nobody has told the outcome of. A
-- statement of its own: it must see what those who held the lock before have written.
SELECT coalesce(max(r.number), 0) + 1 AS number, coalesce(sum(r.amount_minor) FILTER (WHERE r.state = 'asked'), 0)::bigint AS asked_minor
  FROM refund r
 WHERE r.merchant_id = $1::text AND r.order_id = $2::text;

-- insert_refund
-- A refund that is to be asked for, with its request to the byte.
INSERT INTO refund (merchant_id, order_id, number, attempt, connection_id, amount_minor, request, created_at)
VALUES ($1::text, $2::text, $3::int, $4::int, $5::text, $6::bigint, $7::bytea, $8::timestamptz);

-- load_refund
-- A refund as it was to be asked for, and of which payment.
SELECT r.merchant_id, r.order_id, r.number, r.attempt, r.connection_id, r.amount_minor, r.state, r.request, r.created_at,
       a.payment_intent
  FROM refund r
  JOIN attempt a ON (a.merchant_id, a.order_id, a.number) = (r.merchant_id, r.order_id, r.attempt)
 WHERE r.merchant_id = $1::text AND r.order_id = $2::text AND r.number = $3::int;

-- settle_refund
-- What the gateway said to a refund.
UPDATE refund SET state = $4::text, gateway_refund = $5::text
 WHERE merchant_id = $1::text AND order_id = $2::text AND number = $3::int;
