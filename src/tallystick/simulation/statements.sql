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
