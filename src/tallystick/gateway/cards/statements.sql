-- insert_methods
-- New payment methods: what may be kept and shown of a card.
INSERT INTO payment_method (account_id, livemode, id, card_reference, brand, first6, last4, exp_month, exp_year, fingerprint,
       authentication_required, created_at, metadata)
SELECT m.account_id, m.livemode, m.id, m.card_reference, m.brand, m.first6, m.last4, m.exp_month, m.exp_year, m.fingerprint,
       m.authentication_required, m.created_at, m.metadata::jsonb
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::int[],
              $10::text[], $11::boolean[], $12::timestamptz[], $13::text[])
       AS m(account_id, livemode, id, card_reference, brand, first6, last4, exp_month, exp_year, fingerprint,
            authentication_required, created_at, metadata);

-- find_methods
-- Payment methods by id.
SELECT m.account_id, m.livemode, m.id, m.card_reference, m.brand, m.first6, m.last4, m.exp_month, m.exp_year, m.fingerprint,
       m.authentication_required, m.created_at, m.metadata
  FROM payment_method m
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (m.account_id, m.livemode, m.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY m.account_id, m.livemode, m.id;
