-- insert_cases
-- Open cases; those that are there already, open or closed, are left as they are.
INSERT INTO cases (merchant_id, case_id, kind, subject, order_id, attempt, details, opened_at, tell_at)
SELECT c.merchant_id, c.case_id, c.kind, c.subject, c.order_id, c.attempt, c.details, $1::timestamptz, c.tell_at
  FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::jsonb[], $9::timestamptz[])
       AS c(merchant_id, case_id, kind, subject, order_id, attempt, details, tell_at)
 ORDER BY c.merchant_id, c.kind, c.subject
    ON CONFLICT (merchant_id, kind, subject) DO NOTHING;

-- list_cases
-- A page of a merchant's cases, the newest first, those before the cursor.
SELECT c.merchant_id, c.case_id, c.kind, c.subject, c.order_id, c.attempt, c.state, c.details, c.opened_at, c.closed_at
  FROM cases c
 WHERE c.merchant_id = $1::text AND ($2::text IS NULL OR c.state = $2::text) AND ($3::text IS NULL OR c.case_id < $3::text)
 ORDER BY c.case_id DESC
 LIMIT $4::int;

-- find_case
-- One case.
SELECT c.merchant_id, c.case_id, c.kind, c.subject, c.order_id, c.attempt, c.state, c.details, c.opened_at, c.closed_at
  FROM cases c
 WHERE c.merchant_id = $1::text AND c.case_id = $2::text;

-- untold_cases
-- Cases of which people are to be told by now, the oldest first.
SELECT c.merchant_id AS owner_id, c.case_id AS id, c.kind, c.tell_at
  FROM cases c
 WHERE c.tell_at <= $1::timestamptz
 ORDER BY c.tell_at, c.merchant_id, c.case_id
 LIMIT $2::int;

-- claim_telling
-- Take it upon oneself to tell of cases that the caller saw as untold: due again at a time, should that not be heard.
UPDATE cases c
   SET tell_at = $1::timestamptz
  FROM unnest($2::text[], $3::text[], $4::timestamptz[]) AS seen(merchant_id, case_id, tell_at)
 WHERE (c.merchant_id, c.case_id, c.tell_at) = (seen.merchant_id, seen.case_id, seen.tell_at)
RETURNING c.merchant_id AS owner_id, c.case_id AS id, c.kind;

-- record_telling
-- People were told of these cases.
UPDATE cases c
   SET tell_at = NULL
  FROM unnest($1::text[], $2::text[]) AS told(merchant_id, case_id)
 WHERE (c.merchant_id, c.case_id) = (told.merchant_id, told.case_id);
