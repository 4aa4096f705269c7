-- owners
-- The merchants whose rules are checked, in pages: the next ones after an id.
SELECT m.merchant_id AS owner_id FROM merchant m WHERE m.merchant_id > $1::text ORDER BY m.merchant_id LIMIT $2::int;

-- paid_by_an_attempt
-- A PAID order keeps an attempt that succeeded.
SELECT o.order_id AS subject, 'keeps attempt ' || o.keeper || ', which is ' || coalesce(a.state, 'not there') AS detail
  FROM orders o
  LEFT JOIN attempt a ON (a.merchant_id, a.order_id, a.number) = (o.merchant_id, o.order_id, o.keeper)
 WHERE o.merchant_id = $1::text AND o.order_id >= $2::text AND o.state = 'PAID' AND a.state IS DISTINCT FROM 'succeeded'
 ORDER BY o.order_id;

-- paid_twice_is_overpaid
-- An order of which two attempts succeeded is marked overpaid.
SELECT o.order_id AS subject, count(*) || ' attempts succeeded' AS detail
  FROM orders o
  JOIN attempt a ON (a.merchant_id, a.order_id) = (o.merchant_id, o.order_id)
 WHERE o.merchant_id = $1::text AND o.order_id >= $2::text AND a.state = 'succeeded' AND NOT o.overpaid
 GROUP BY o.merchant_id, o.order_id
HAVING count(*) > 1
 ORDER BY o.order_id;

-- ended_orders_have_ended_attempts
-- The newest attempt of an order that is EXPIRED, FAILED or CANCELED can no longer be paid, and was not.
SELECT o.order_id AS subject, o.state || ', attempt ' || a.number || ' is ' || a.state AS detail
  FROM orders o
  JOIN attempt a ON (a.merchant_id, a.order_id) = (o.merchant_id, o.order_id)
 WHERE o.merchant_id = $1::text AND o.order_id >= $2::text AND o.state IN ('EXPIRED', 'FAILED', 'CANCELED')
   AND a.number = o.attempt_newest AND a.state <> 'closed'
 ORDER BY o.order_id;

-- paid_never_goes_back
-- No order has ever left PAID.
SELECT t.order_id AS subject, 'left PAID for ' || t.state_after || ' at ' || t.at AS detail
  FROM timeline t
 WHERE t.merchant_id = $1::text AND t.order_id >= $2::text AND t.state_before = 'PAID' AND t.state_after <> 'PAID'
 ORDER BY t.order_id, t.number;

-- the_timeline_tells_the_state
-- The newest line of an order's timeline ends in the state that the order has.
SELECT o.order_id AS subject, o.state || ', its timeline ends ' || t.state_after AS detail
  FROM orders o
 CROSS JOIN LATERAL (
        SELECT l.state_after FROM timeline l
         WHERE (l.merchant_id, l.order_id) = (o.merchant_id, o.order_id) ORDER BY l.number DESC LIMIT 1) AS t
 WHERE o.merchant_id = $1::text AND o.order_id >= $2::text AND t.state_after <> o.state
 ORDER BY o.order_id;

-- no_claim_outlives_its_lease
-- What is due to be done about an attempt is done: nothing has been due for an hour without anybody who does it.
SELECT a.order_id AS subject, 'attempt ' || a.number || ' is ' || a.state || ', due since ' || a.due_at AS detail
  FROM attempt a
 WHERE a.merchant_id = $1::text AND a.order_id >= $2::text
   AND greatest(a.due_at, coalesce(a.lease_until, a.due_at)) < $3::timestamptz - interval '1 hour'
 ORDER BY a.order_id, a.number;

-- no_attempt_is_forgotten
-- Every attempt that can still be paid is looked at again some time.
SELECT a.order_id AS subject, 'attempt ' || a.number || ' is ' || a.state || ' and nobody will look at it again' AS detail
  FROM attempt a
 WHERE a.merchant_id = $1::text AND a.order_id >= $2::text AND a.state IN ('open', 'authorised') AND a.due_at IS NULL
 ORDER BY a.order_id, a.number;

-- no_errand_is_forgotten
-- What must still be done about an order outside (money to be given back, a decision) has not been due for an hour.
SELECT e.order_id AS subject, e.kind || ' of attempt ' || e.attempt || ' is due since ' || e.due_at AS detail
  FROM errand e
 WHERE e.merchant_id = $1::text AND e.order_id >= $2::text
   AND greatest(e.due_at, coalesce(e.lease_until, e.due_at)) < $3::timestamptz - interval '1 hour'
 ORDER BY e.order_id, e.kind, e.attempt;

-- every_notification_is_delivered_held_or_dead
-- No notification has been due to its shop for an hour without anybody who tries it.
SELECT d.id AS subject, 'of ' || d.message || ' is due since ' || d.due_at || ' after ' || d.tries || ' tries' AS detail
  FROM delivery d
 WHERE d.owner_id = $1::text AND d.id >= $2::text AND d.state = 'due'
   AND greatest(d.due_at, coalesce(d.lease_until, d.due_at)) < $3::timestamptz - interval '1 hour'
 ORDER BY d.id;

-- no_newcomer_is_left_over
-- Nobody who was stored for an order waits for it longer than an hour after it was time to look: they are named by it, or forgotten.
SELECT n.customer_id AS subject, 'waits for a first order, and was to be looked at ' || n.due_at AS detail
  FROM newcomer n
 WHERE n.merchant_id = $1::text AND n.customer_id >= $2::text AND n.due_at < $3::timestamptz - interval '1 hour'
 ORDER BY n.customer_id;

-- held_deliveries_have_a_reason
-- What is held waits for an endpoint that is disabled, or the keeper looks after it: else nobody would ever release it.
SELECT d.id AS subject, 'of ' || d.message || ' is held (' || coalesce(d.reason, '') || '), its endpoint is enabled' AS detail
  FROM delivery d
  JOIN notification_endpoint e ON (e.merchant_id, e.endpoint_id) = (d.owner_id, d.endpoint) AND e.status = 'enabled' AND e.deleted_at IS NULL
 WHERE d.owner_id = $1::text AND d.id >= $2::text AND d.state = 'held'
   AND NOT EXISTS (SELECT FROM endpoint_health h
                    WHERE (h.owner_id, h.livemode, h.endpoint) = (d.owner_id, d.livemode, d.endpoint) AND h.keep_at IS NOT NULL)
 ORDER BY d.id;

-- orders_for_comparison
-- Every order with its attempts' payments, for whoever compares both halves.
SELECT o.order_id, o.state, o.amount_minor, o.overpaid, o.fulfilment = 'refused' AS refused,
       o.attention IS NOT NULL OR EXISTS (
           SELECT FROM cases c WHERE (c.merchant_id, c.order_id) = (o.merchant_id, o.order_id) AND c.state = 'open') AS explained,
       coalesce(jsonb_object_agg(a.payment_intent, a.state) FILTER (WHERE a.payment_intent IS NOT NULL), '{}') AS intents,
       coalesce(jsonb_object_agg(a.payment_intent, e.ended_at) FILTER (WHERE a.payment_intent IS NOT NULL AND e.ended_at IS NOT NULL),
                '{}') AS ended
  FROM orders o
  LEFT JOIN attempt a ON (a.merchant_id, a.order_id) = (o.merchant_id, o.order_id)
  LEFT JOIN LATERAL (
        SELECT min(t.at) AS ended_at FROM timeline t
         WHERE (t.merchant_id, t.order_id, t.attempt) = (a.merchant_id, a.order_id, a.number)
           AND t.state_before = 'PENDING' AND t.state_after IN ('EXPIRED', 'FAILED', 'CANCELED')) AS e ON true
 WHERE o.merchant_id = $1::text AND o.order_id >= $2::text
 GROUP BY o.merchant_id, o.order_id
 ORDER BY o.order_id;
