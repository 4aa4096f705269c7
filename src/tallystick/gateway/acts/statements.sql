-- standing_of_payment
-- How a payment stands: the charge that holds the shopper's money where one does, and how much of that may still go back.
SELECT i.status, i.amount, i.currency, i.amount_received, i.amount_capturable, c.id AS charge,
       coalesce(c.amount_captured - c.amount_refunded - c.refund_pending - c.dispute_withheld, 0) AS refundable
  FROM payment_intent i
  LEFT JOIN charge c
    ON (c.account_id, c.livemode, c.payment_intent) = (i.account_id, i.livemode, i.id) AND c.state = 'approved'
 WHERE i.account_id = $1::text AND i.livemode = $2::boolean AND i.id = $3::text;

-- unknown_of_payment
-- What of a payment nobody knows the outcome of: charges, captures, voids and refunds.
SELECT c.id, 'charge' AS kind
  FROM charge c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.payment_intent = $3::text AND c.state = 'unknown'
 UNION ALL
SELECT r.id, r.kind
  FROM acquirer_request r
 WHERE r.account_id = $1::text AND r.livemode = $2::boolean AND r.payment_intent = $3::text AND r.state = 'unknown'
 ORDER BY id;
