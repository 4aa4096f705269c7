-- payment_of_dispute
-- The payment intent and the charge that a dispute is about.
SELECT d.payment_intent, d.charge
  FROM dispute d
 WHERE d.account_id = $1::text AND d.livemode = $2::boolean AND d.id = $3::text;

-- due_contests
-- Disputes whose evidence the bank is to be given, longest due first.
SELECT d.account_id, d.livemode, d.id, d.reference, d.evidence, d.contest_due_at, c.acquirer_key AS key
  FROM dispute d
  JOIN charge c ON (c.account_id, c.livemode, c.id) = (d.account_id, d.livemode, d.charge)
 WHERE d.contest_due_at <= $1::timestamptz
 ORDER BY d.contest_due_at, d.account_id, d.id
 LIMIT $2::int;

-- record_contests
-- The bank has the evidence, or is to be given it again; what became due anew meanwhile stays.
UPDATE dispute d
   SET contest_due_at = n.due_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[], $5::timestamptz[])
       AS n(account_id, livemode, id, seen_due_at, due_at)
 WHERE (d.account_id, d.livemode, d.id, d.contest_due_at) = (n.account_id, n.livemode, n.id, n.seen_due_at);
