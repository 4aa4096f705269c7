-- order_states
-- How every order stands, for whoever compares it with what shoppers saw.
SELECT o.order_id, o.state FROM orders o WHERE o.merchant_id <> '' ORDER BY o.merchant_id, o.order_id;

-- intent_statuses
-- How every payment intent stands, for whoever compares it with what callers were told.
SELECT p.account_id, p.id, p.status FROM payment_intent p WHERE p.account_id <> '' ORDER BY p.account_id, p.id;

-- bank_differs
-- Charges of which the bank, as far as it remembers, knows another end than the gateway.
SELECT c.id AS subject, 'the bank: ' || b.outcome || CASE WHEN b.reversed_at IS NULL THEN '' ELSE ', reversed' END
       || ', the gateway: ' || c.state AS detail
  FROM charge c
  JOIN simulated_operation b ON (b.account_id, b.key, b.kind) = (c.account_id, c.acquirer_key, 'charge')
 WHERE c.account_id <> ''
   AND CASE WHEN b.outcome = 'done' AND b.reversed_at IS NULL THEN c.state NOT IN ('approved', 'reversing', 'reversed')
            ELSE c.state = 'approved' END
 ORDER BY c.account_id, c.id;

-- order_released
-- The newest attempt of an order whose end is stored.
SELECT coalesce(o.released, 0) AS released FROM orders o WHERE o.merchant_id <> '' AND o.order_id = $1::text;

-- notifications_told
-- Every notification of the merchant service, of what, and whether it counts as delivered.
SELECT m.id, b.body->>'type' AS type, b.body->'data'->'order'->>'id' AS order_id, d.state = 'delivered' AS delivered
  FROM message m
 CROSS JOIN LATERAL (SELECT convert_from(m.body, 'UTF8')::jsonb AS body) AS b
  JOIN delivery d ON (d.owner_id, d.message) = (m.owner_id, m.id)
 WHERE m.owner_id <> ''
 ORDER BY m.owner_id, m.id;

-- orders_to_tell
-- Every order as its shop should know it, and whether the shop listens.
SELECT o.order_id, o.state, o.fulfilment, o.late, o.amount_refunded_minor AS amount_refunded, coalesce(o.released, 0) AS released, m.late_policy,
       m.stock_url IS NOT NULL AS hook,
       EXISTS (SELECT FROM notification_endpoint e WHERE e.merchant_id = o.merchant_id AND e.deleted_at IS NULL) AS listened
  FROM orders o
  JOIN merchant m ON m.merchant_id = o.merchant_id
 WHERE o.merchant_id <> ''
 ORDER BY o.merchant_id, o.order_id;

-- undelivered
-- Deliveries that are neither delivered nor due, once every endpoint takes them and every dead letter was redriven.
SELECT d.id, d.state || ' (' || coalesce(d.reason, '') || ') after ' || d.tries || ' tries, ' || d.endpoint AS detail, d.state
  FROM delivery d
 WHERE d.owner_id <> '' AND d.state IN ('held', 'dead')
 ORDER BY d.owner_id, d.id;
