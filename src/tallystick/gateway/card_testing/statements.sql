-- count_tries
-- One more try of each subject in this hour; with what the hour before had. An address is kept for the charge ($6) that comes
-- of the try, where one may come of it.
WITH kept AS (
    INSERT INTO charge_address (account_id, livemode, charge, subject, window_at)
    SELECT each.account_id, each.livemode, each.charge, each.subject, $4::timestamptz
      FROM unnest($1::text[], $2::boolean[], $3::text[], $6::text[]) AS each(account_id, livemode, subject, charge)
     WHERE each.charge IS NOT NULL
), counted AS (
    INSERT INTO payment_tries AS t (account_id, livemode, subject, window_at, tries, declines)
    SELECT each.account_id, each.livemode, each.subject, $4::timestamptz, count(*), 0
      FROM unnest($1::text[], $2::boolean[], $3::text[]) AS each(account_id, livemode, subject)
     GROUP BY each.account_id, each.livemode, each.subject
     ORDER BY each.account_id, each.livemode, each.subject
        ON CONFLICT (account_id, livemode, subject, window_at) DO UPDATE SET tries = t.tries + excluded.tries
    RETURNING account_id, livemode, subject, tries, declines
)
SELECT c.account_id, c.livemode, c.subject, c.tries, c.declines,
       coalesce(b.tries, 0) AS tries_before, coalesce(b.declines, 0) AS declines_before
  FROM counted c
  LEFT JOIN payment_tries b
    ON (b.account_id, b.livemode, b.subject, b.window_at) = (c.account_id, c.livemode, c.subject, $5::timestamptz)
 ORDER BY c.account_id, c.livemode, c.subject;

-- count_declines
-- One more decline in this hour of each card ($4, none where cards are not counted) and of the address that its charge ($3) was tried
-- from, in the order in which tries are counted; its try may have been in the hour before.
INSERT INTO payment_tries AS t (account_id, livemode, subject, window_at, tries, declines)
SELECT each.account_id, each.livemode, each.subject, $5::timestamptz, 0, count(*)
  FROM (SELECT d.account_id, d.livemode, a.subject
          FROM unnest($1::text[], $2::boolean[], $3::text[]) AS d(account_id, livemode, charge)
          JOIN charge_address a ON (a.account_id, a.livemode, a.charge) = (d.account_id, d.livemode, d.charge)
         UNION ALL
        SELECT d.account_id, d.livemode, d.card
          FROM unnest($1::text[], $2::boolean[], $4::text[]) AS d(account_id, livemode, card)
         WHERE d.card IS NOT NULL) AS each
 GROUP BY each.account_id, each.livemode, each.subject
 ORDER BY each.account_id, each.livemode, each.subject
    ON CONFLICT (account_id, livemode, subject, window_at) DO UPDATE SET declines = t.declines + excluded.declines;

-- card_of_method
-- What stands for the card of a payment method.
SELECT m.fingerprint
  FROM payment_method m
 WHERE m.account_id = $1::text AND m.livemode = $2::boolean AND m.id = $3::text;

-- card_of_intent
-- What stands for the card that a payment intent would be confirmed with.
SELECT m.fingerprint
  FROM payment_intent i
  JOIN payment_method m ON (m.account_id, m.livemode, m.id) = (i.account_id, i.livemode, i.payment_method)
 WHERE i.account_id = $1::text AND i.livemode = $2::boolean AND i.id = $3::text;

-- forget_tries
-- Hours that count no more are thrown out, so many rows at a time.
DELETE FROM payment_tries t
 WHERE (t.account_id, t.livemode, t.subject, t.window_at) IN
       (SELECT o.account_id, o.livemode, o.subject, o.window_at
          FROM payment_tries o
         WHERE o.window_at < $1::timestamptz
         ORDER BY o.window_at
         LIMIT $2::int);

-- forget_addresses
-- From where charges were tried that long ago is thrown out, so many rows at a time.
DELETE FROM charge_address a
 WHERE (a.account_id, a.livemode, a.charge) IN
       (SELECT o.account_id, o.livemode, o.charge
          FROM charge_address o
         WHERE o.window_at < $1::timestamptz
         ORDER BY o.window_at
         LIMIT $2::int);

-- most_tries
-- Who was declined most, then who tried most, in this hour and the one before; of one account where one is named.
SELECT t.account_id, t.livemode, t.subject,
       coalesce(sum(t.tries) FILTER (WHERE t.window_at = $2::timestamptz), 0)::int AS tries,
       coalesce(sum(t.declines) FILTER (WHERE t.window_at = $2::timestamptz), 0)::int AS declines,
       coalesce(sum(t.tries) FILTER (WHERE t.window_at < $2::timestamptz), 0)::int AS tries_before,
       coalesce(sum(t.declines) FILTER (WHERE t.window_at < $2::timestamptz), 0)::int AS declines_before
  FROM payment_tries t
 WHERE (t.account_id = $1::text OR $1::text IS NULL) AND t.window_at >= $3::timestamptz
 GROUP BY t.account_id, t.livemode, t.subject
 ORDER BY sum(t.declines) DESC, sum(t.tries) DESC, t.account_id, t.livemode, t.subject
 LIMIT $4::int;
