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

-- bank_takes
-- Requests arrive at the simulated bank: each is done once under its key. One that was lost before, and not closed, counts
-- now; gives the keys that it had not taken before.
INSERT INTO simulated_operation AS o (account_id, key, kind, outcome, reference, code, decline_code, message, known_at,
                                      comes_late, tells, tells_at, created_at)
SELECT n.account_id, n.key, n.kind, n.outcome, n.reference, n.code, n.decline_code, n.message, n.known_at, n.comes_late,
       n.tells, n.tells_at, $13::timestamptz
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::timestamptz[], $10::boolean[], $11::text[], $12::timestamptz[])
       AS n(account_id, key, kind, outcome, reference, code, decline_code, message, known_at, comes_late, tells, tells_at)
 ORDER BY n.account_id, n.key
    ON CONFLICT (account_id, key) DO UPDATE
   SET outcome = excluded.outcome, code = excluded.code, decline_code = excluded.decline_code, message = excluded.message,
       known_at = excluded.known_at, tells = excluded.tells, tells_at = excluded.tells_at
 WHERE o.outcome = 'lost' AND o.reversed_at IS NULL AND NOT o.comes_late
RETURNING o.account_id, o.key;

-- bank_knows
-- What the simulated bank remembers of requests.
SELECT o.account_id, o.key, o.kind, o.outcome, o.reference, o.code, o.decline_code, o.message, o.known_at, o.reversed_at
  FROM simulated_operation o
  JOIN unnest($1::text[], $2::text[]) AS wanted(account_id, key) ON (o.account_id, o.key) = (wanted.account_id, wanted.key)
 ORDER BY o.account_id, o.key;

-- bank_reverses
-- The simulated bank gives back what was charged under these keys and closes them, but for cards that approve late.
INSERT INTO simulated_operation AS o (account_id, key, kind, outcome, reference, known_at, reversed_at, created_at)
SELECT n.account_id, n.key, 'charge', 'lost', n.reference, $4::timestamptz, $4::timestamptz, $4::timestamptz
  FROM unnest($1::text[], $2::text[], $3::text[]) AS n(account_id, key, reference)
 ORDER BY n.account_id, n.key
    ON CONFLICT (account_id, key) DO UPDATE
   SET reversed_at = CASE WHEN o.comes_late THEN o.reversed_at ELSE coalesce(o.reversed_at, excluded.reversed_at) END,
       outcome = CASE WHEN o.comes_late THEN 'done' ELSE o.outcome END,
       known_at = CASE WHEN o.comes_late THEN $5::timestamptz ELSE o.known_at END,
       tells = CASE WHEN o.comes_late THEN 'approved' ELSE o.tells END,
       tells_at = CASE WHEN o.comes_late THEN $5::timestamptz ELSE o.tells_at END,
       comes_late = false;

-- bank_tells
-- What the simulated bank has to tell by itself, oldest first.
SELECT o.account_id, o.key, o.reference, o.tells
  FROM simulated_operation o
 WHERE o.tells_at <= $1::timestamptz
 ORDER BY o.tells_at, o.account_id, o.key
 LIMIT $2::int;

-- bank_captures
-- Charges of the simulated bank were captured: a card that disputes does so now, once.
UPDATE simulated_operation o
   SET tells_at = $3::timestamptz
  FROM unnest($1::text[], $2::text[]) AS n(account_id, key)
 WHERE (o.account_id, o.key) = (n.account_id, n.key) AND o.tells = 'disputed' AND o.tells_at IS NULL;

-- bank_was_heard
-- The simulated bank need not tell these any more. A dispute is lost when its time is over, unless evidence comes.
UPDATE simulated_operation o
   SET tells = CASE WHEN o.tells = 'disputed' THEN 'dispute_lost' ELSE o.tells END,
       tells_at = CASE WHEN o.tells = 'disputed' THEN o.tells_at + interval '7 days' END
  FROM unnest($1::text[], $2::text[], $3::text[]) AS heard(account_id, key, tells)
 WHERE (o.account_id, o.key, o.tells) = (heard.account_id, heard.key, heard.tells);

-- bank_is_contested
-- The simulated bank has evidence about disputes, and tells what it decides; what was decided before stays.
UPDATE simulated_operation o
   SET tells = n.tells, tells_at = $4::timestamptz
  FROM unnest($1::text[], $2::text[], $3::text[]) AS n(account_id, key, tells)
 WHERE (o.account_id, o.key) = (n.account_id, n.key) AND o.tells IN ('disputed', 'dispute_lost') AND o.tells_at IS NOT NULL;
