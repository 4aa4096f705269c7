-- order_states
-- How every order stands, for whoever compares it with what shoppers saw.
SELECT o.order_id, o.state FROM orders o WHERE o.merchant_id <> '' ORDER BY o.merchant_id, o.order_id;

-- intent_statuses
-- How every payment intent stands, for whoever compares it with what callers were told.
SELECT p.account_id, p.id, p.status FROM payment_intent p WHERE p.account_id <> '' ORDER BY p.account_id, p.id;
