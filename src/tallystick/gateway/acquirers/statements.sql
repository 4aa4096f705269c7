-- begin_authentications
-- The simulated bank opens 3DS challenges; one that exists already stays as it is.
INSERT INTO simulated_authentication (account_id, reference, charge, state, created_at)
SELECT c.account_id, c.reference, c.charge, 'pending', $4::timestamptz
  FROM unnest($1::text[], $2::text[], $3::text[]) AS c(account_id, reference, charge)
 ORDER BY c.account_id, c.reference
    ON CONFLICT DO NOTHING;

-- authentication_states
-- What the simulated bank knows of 3DS challenges.
SELECT s.account_id, s.reference, s.charge, s.state
  FROM simulated_authentication s
  JOIN unnest($1::text[], $2::text[]) AS wanted(account_id, reference)
    ON (s.account_id, s.reference) = (wanted.account_id, wanted.reference)
 ORDER BY s.account_id, s.reference;

-- answer_authentication
-- The shopper answers a challenge at the simulated bank; the first answer counts.
UPDATE simulated_authentication
   SET state = $3::text
 WHERE account_id = $1::text AND reference = $2::text AND state = 'pending';
