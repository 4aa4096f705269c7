-- post
-- Append ledger transactions; the legs of each come as two arrays in their text form.
INSERT INTO ledger_transaction (account_id, livemode, id, kind, reference, payment_intent, charge, currency, accounts, amounts,
                                effective_at, created_at)
SELECT u.account_id, u.livemode, u.id, u.kind, u.reference, u.payment_intent, u.charge, u.currency,
       u.accounts::text[], u.amounts::bigint[], u.effective_at, $1::timestamptz
  FROM unnest($2::text[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
              $10::text[], $11::text[], $12::timestamptz[])
       AS u(account_id, livemode, id, kind, reference, payment_intent, charge, currency, accounts, amounts, effective_at);
