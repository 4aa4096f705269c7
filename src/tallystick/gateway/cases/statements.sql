-- insert_cases
-- Open cases; those that are there already, open or closed, are left as they are.
INSERT INTO cases (account_id, livemode, id, kind, subject, payment_intent, charge, amount, currency, details, opened_at, tell_at)
SELECT c.account_id, c.livemode, c.id, c.kind, c.subject, c.payment_intent, c.charge, c.amount, c.currency, c.details,
       $1::timestamptz, $1::timestamptz
  FROM unnest($2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[],
              $11::jsonb[])
       AS c(account_id, livemode, id, kind, subject, payment_intent, charge, amount, currency, details)
 ORDER BY c.account_id, c.livemode, c.kind, c.subject
    ON CONFLICT (account_id, livemode, kind, subject) DO NOTHING;

-- list_cases
-- Cases behind an account and id, of one account or in one state where that is asked for.
SELECT c.account_id, c.livemode, c.id, c.kind, c.subject, c.payment_intent, c.charge, c.amount, c.currency, c.details, c.state,
       c.opened_at, c.closed_at, c.note, c.operator
  FROM cases c
 WHERE (c.account_id, c.id) > ($1::text, $2::text) AND ($3::text IS NULL OR c.account_id = $3::text)
   AND ($4::text IS NULL OR c.state = $4::text)
 ORDER BY c.account_id, c.id
 LIMIT $5::int;

-- close_case
-- A person has seen to a case that is open; nobody needs to be told of it any more.
UPDATE cases c
   SET state = 'closed', closed_at = $4::timestamptz, note = $5::text, operator = $6::text, tell_at = NULL
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.id = $3::text AND c.state = 'open';

-- close_case_about
-- What a case was about is settled.
UPDATE cases c
   SET state = 'closed', closed_at = $5::timestamptz, note = $6::text, operator = $7::text, tell_at = NULL
 WHERE c.account_id = $1::text AND c.livemode = $2::boolean AND c.subject = $3::text AND c.kind = $4::text AND c.state = 'open';

-- untold_cases
-- Cases of which people are to be told by now, the oldest first.
SELECT c.account_id AS owner_id, c.id, c.kind, c.tell_at
  FROM cases c
 WHERE c.tell_at <= $1::timestamptz
 ORDER BY c.tell_at, c.account_id, c.id
 LIMIT $2::int;

-- claim_telling
-- Take it upon oneself to tell of cases that the caller saw as untold: due again at a time, should that not be heard.
UPDATE cases c
   SET tell_at = $1::timestamptz
  FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS seen(account_id, id, tell_at)
 WHERE (c.account_id, c.id, c.tell_at) = (seen.account_id, seen.id, seen.tell_at)
RETURNING c.account_id AS owner_id, c.id, c.kind;

-- record_telling
-- People were told of these cases.
UPDATE cases c
   SET tell_at = NULL
  FROM unnest($1::text[], $2::text[]) AS told(account_id, id)
 WHERE (c.account_id, c.id) = (told.account_id, told.id);
