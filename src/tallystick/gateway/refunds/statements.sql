-- intent_of_charge
-- The payment intent to which a charge belongs.
SELECT c.payment_intent
  FROM charge c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id = $3::text
   AND c.state NOT IN ('authenticating', 'abandoned');

-- payment_of_refund
-- The payment intent and the charge that a refund belongs to.
SELECT f.payment_intent, f.charge
  FROM refund f
 WHERE f.account_id = $1::text AND f.livemode = $2::boolean AND f.id = $3::text;
