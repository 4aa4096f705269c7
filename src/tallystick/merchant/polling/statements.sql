-- newest_attempt
-- The attempt of an order that a poll is about; without a session there is nothing to ask the gateway for.
SELECT a.number, a.connection_id, a.state, a.checkout_session, a.trace
  FROM orders o
  JOIN attempt a ON (a.merchant_id, a.order_id, a.number) = (o.merchant_id, o.order_id, o.attempt_newest)
 WHERE o.merchant_id = $1::text AND o.order_id = $2::text;
