-- order_states
-- How every order stands, for whoever compares it with what shoppers saw.
SELECT o.merchant_id, o.order_id, o.state, o.customer_id FROM orders o WHERE o.merchant_id <> '' ORDER BY o.merchant_id, o.order_id;

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

-- unreconciled
-- What reconciliation left in the end: runs that did not end well, files that were refused, and what no answer of the gateway put right.
SELECT r.merchant_id, r.reconciliation_id AS subject, 'run' AS code, 'run ' || r.state || coalesce(': ' || r.error, coalesce(': ' || r.stopped, '')) AS detail
  FROM reconciliation r
 WHERE r.merchant_id <> '' AND NOT r.dry_run AND (r.state <> 'done' OR r.stopped IS NOT NULL)
UNION ALL
SELECT f.merchant_id, f.reconciliation_id, 'file', 'file refused: ' || f.reason
  FROM settlement_file f
 WHERE f.merchant_id <> '' AND f.state = 'refused'
UNION ALL
SELECT m.merchant_id, m.subject, m.code, m.code || ', ' || m.state || ' ' || coalesce(m.order_id, '') || ' ' || m.details::text
  FROM mismatch m
 WHERE m.merchant_id <> '' AND m.state NOT IN ('resolved', 'noted')
 ORDER BY 1, 2, 3;

-- payments_of_sessions
-- The payments that were made for an order's session: they belong to it, where a call to the payments' own API made others.
SELECT s.payment_intent
  FROM checkout_session s
 WHERE s.account_id <> '' AND s.payment_intent IS NOT NULL AND s.metadata ? 'order_id'
 ORDER BY s.payment_intent;

-- kept_cards
-- Saved cards that can be paid with: attached to their customer, the number in the vault.
SELECT m.account_id, m.id
  FROM payment_method m
  JOIN vault.card v ON (v.account_id, v.livemode, v.token) = (m.account_id, m.livemode, m.vault_token)
 WHERE m.account_id <> '' AND m.attached_at IS NOT NULL
 ORDER BY m.account_id, m.id;
