-- insert_cards
-- Keep sealed numbers with their wrapped data keys.
INSERT INTO vault.card (account_id, livemode, token, sealed, data_key, key_version, payment_intent, created_at, due_at)
SELECT n.account_id, n.livemode, n.token, n.sealed, n.data_key, n.key_version, n.payment_intent, n.created_at, n.due_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::bytea[], $5::text[], $6::int[], $7::text[], $8::timestamptz[],
              $9::timestamptz[])
       AS n(account_id, livemode, token, sealed, data_key, key_version, payment_intent, created_at, due_at);

-- find_cards
-- Sealed numbers by token.
SELECT c.account_id, c.livemode, c.token, c.sealed, c.data_key
  FROM vault.card c
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, token)
    ON (c.account_id, c.livemode, c.token) = (wanted.account_id, wanted.livemode, wanted.token)
 ORDER BY c.account_id, c.livemode, c.token;

-- due_cards
-- Numbers for which it is time to look whether they are still needed, longest due first.
SELECT c.account_id, c.livemode, c.token, c.payment_intent, c.due_at
  FROM vault.card c
 WHERE c.due_at <= $1::timestamptz
 ORDER BY c.due_at, c.account_id, c.token
 LIMIT $2::int;

-- postpone_cards
-- Numbers that are still needed are looked at later, unless somebody else has said when meanwhile.
UPDATE vault.card c
   SET due_at = n.next_at
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[], $5::timestamptz[])
       AS n(account_id, livemode, token, due_at, next_at)
 WHERE (c.account_id, c.livemode, c.token) = (n.account_id, n.livemode, n.token) AND c.due_at = n.due_at;

-- delete_cards
-- Shred numbers with their keys, unless somebody has said meanwhile that they are to be looked at later.
DELETE FROM vault.card c
 USING unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[]) AS n(account_id, livemode, token, due_at)
 WHERE (c.account_id, c.livemode, c.token) = (n.account_id, n.livemode, n.token) AND c.due_at = n.due_at;

-- release_cards
-- Numbers of cards that their owner takes back are due at once.
UPDATE vault.card c
   SET due_at = $4::timestamptz
  FROM unnest($1::text[], $2::boolean[], $3::text[]) AS n(account_id, livemode, token)
 WHERE (c.account_id, c.livemode, c.token) = (n.account_id, n.livemode, n.token);

-- key_versions
-- How many numbers stand under each version of each key-encryption key.
SELECT split_part(c.data_key, ':', 1) AS scheme, c.key_version, count(*) AS cards
  FROM vault.card c
 GROUP BY 1, c.key_version
 ORDER BY 1, c.key_version;

-- cards_to_rewrap
-- Wrapped data keys of versions before the newest or of another key-encryption key, in the order of their places.
SELECT c.account_id, c.livemode, c.token, c.data_key
  FROM vault.card c
 WHERE (c.account_id, c.livemode, c.token) > ($1::text, $2::boolean, $3::text) AND (c.key_version < $4::int OR split_part(c.data_key, ':', 1) <> $6::text)
 ORDER BY c.account_id, c.livemode, c.token
 LIMIT $5::int;

-- rewrap_cards
-- Data keys wrapped anew, each if it is still wrapped as it was read.
UPDATE vault.card c
   SET data_key = n.data_key, key_version = n.key_version
  FROM unnest($1::text[], $2::boolean[], $3::text[], $4::text[], $5::text[], $6::int[])
       AS n(account_id, livemode, token, old_key, data_key, key_version)
 WHERE (c.account_id, c.livemode, c.token) = (n.account_id, n.livemode, n.token) AND c.data_key = n.old_key;
