-- post
-- Append ledger transactions; the legs of each come as two arrays in their text form.
INSERT INTO ledger_transaction (account_id, livemode, id, kind, reference, payment_intent, charge, currency, accounts, amounts,
                                effective_at, available_at, created_at)
SELECT u.account_id, u.livemode, u.id, u.kind, u.reference, u.payment_intent, u.charge, u.currency,
       u.accounts::text[], u.amounts::bigint[], u.effective_at, u.available_at, $1::timestamptz
  FROM unnest($2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
              $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[])
       AS u(account_id, livemode, id, kind, reference, payment_intent, charge, currency, accounts, amounts, effective_at,
            available_at);

-- terms_of
-- What accounts are charged in a currency, when their days end, and whether they have had money in it before.
SELECT w.account_id, w.livemode, w.currency, coalesce(b.fee_basis_points, 0) AS fee_basis_points,
       coalesce(b.fee_fixed, 0) AS fee_fixed, coalesce(b.dispute_fee, 0) AS dispute_fee,
       coalesce(a.day_offset_minutes, 0) AS day_offset_minutes, coalesce(a.available_days, 2) AS available_days,
       b.next_day IS NOT NULL AS begun
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS w(account_id, livemode, currency)
  LEFT JOIN account a ON a.account_id = w.account_id
  LEFT JOIN balance_account b ON (b.account_id, b.livemode, b.currency) = (w.account_id, w.livemode, w.currency)
 ORDER BY w.account_id, w.livemode, w.currency;

-- begin
-- The first business day of accounts whose first money moves; who comes second finds it begun.
INSERT INTO balance_account AS b (account_id, livemode, currency, next_day, close_at)
SELECT n.account_id, n.livemode, n.currency, n.next_day, n.close_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::date[], $5::timestamptz[])
       AS n(account_id, livemode, currency, next_day, close_at)
 ORDER BY n.account_id, n.livemode, n.currency
    ON CONFLICT (account_id, livemode, currency) DO UPDATE
   SET next_day = excluded.next_day, close_at = excluded.close_at
 WHERE b.next_day IS NULL;

-- transactions_of
-- What was posted for these causes; for `charge:…` of a charge that was captured later, its first capture.
SELECT w.account_id, w.livemode, w.reference, coalesce(t.id, (
           SELECT c.id FROM ledger_transaction c
            WHERE c.account_id = w.account_id AND c.livemode = w.livemode AND c.charge = substr(w.reference, 8)
              AND c.kind = 'capture' AND w.reference LIKE 'charge:%'
            ORDER BY c.account_id, c.livemode, c.charge, c.id LIMIT 1)) AS id
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS w(account_id, livemode, reference)
  LEFT JOIN ledger_transaction t
    ON (t.account_id, t.livemode, t.reference) = (w.account_id, w.livemode, w.reference)
 ORDER BY w.account_id, w.livemode, w.reference;

-- fees_of
-- The fees that were charged with these causes.
SELECT t.account_id, t.livemode, t.reference, -ledger_sum_of(t.accounts, t.amounts, '{fee_revenue}') AS fee
  FROM ledger_transaction t
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS w(account_id, livemode, reference)
    ON (t.account_id, t.livemode, t.reference) = (w.account_id, w.livemode, w.reference)
 ORDER BY t.account_id, t.livemode, t.reference;
