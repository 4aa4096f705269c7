-- intent_of_charge
-- The payment intent to which a charge belongs.
SELECT c.payment_intent
  FROM charge c
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id = $3::text
   AND c.state NOT IN ('authenticating', 'abandoned');
