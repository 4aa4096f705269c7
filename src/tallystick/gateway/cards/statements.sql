-- insert_methods
-- New payment methods: what may be kept and shown of a card.
INSERT INTO payment_method (account_id, livemode, id, card_reference, brand, first6, last4, exp_month, exp_year, fingerprint,
       authentication_required, created_at, metadata, customer, attached_at, vault_token, single_use)
SELECT m.account_id, m.livemode, m.id, m.card_reference, m.brand, m.first6, m.last4, m.exp_month, m.exp_year, m.fingerprint,
       m.authentication_required, m.created_at, m.metadata::jsonb, m.customer, m.attached_at, m.vault_token, m.single_use
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::int[], $9::int[],
              $10::text[], $11::boolean[], $12::timestamptz[], $13::text[], $14::text[], $15::timestamptz[],
              $16::text[], $17::boolean[])
       AS m(account_id, livemode, id, card_reference, brand, first6, last4, exp_month, exp_year, fingerprint,
            authentication_required, created_at, metadata, customer, attached_at, vault_token, single_use);

-- find_methods
-- Payment methods by id.
SELECT m.account_id, m.livemode, m.id, m.card_reference, m.brand, m.first6, m.last4, m.exp_month, m.exp_year, m.fingerprint,
       m.authentication_required, m.created_at, m.metadata, m.customer, m.attached_at, m.vault_token, m.single_use
  FROM payment_method m
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (m.account_id, m.livemode, m.id) = (wanted.account_id, wanted.livemode, wanted.id)
 ORDER BY m.account_id, m.livemode, m.id;

-- uses_of_numbers
-- What numbers of the vault are needed for: the card that names each, and how the payment stands for which it was typed,
-- where that still means to pay with it.
SELECT m.account_id, m.livemode, m.vault_token, m.attached_at IS NOT NULL AS saved, m.exp_month, m.exp_year,
       i.status AS intent_status
  FROM payment_method m
  JOIN unnest($1::text[], $2::boolean[], $3::text[], $4::text[]) AS wanted(account_id, livemode, vault_token, payment_intent)
    ON (m.account_id, m.livemode, m.vault_token) = (wanted.account_id, wanted.livemode, wanted.vault_token)
  LEFT JOIN payment_intent i
    ON (i.account_id, i.livemode, i.id) = (wanted.account_id, wanted.livemode, wanted.payment_intent)
   AND i.payment_method = m.id
 ORDER BY m.account_id, m.livemode, m.vault_token;
