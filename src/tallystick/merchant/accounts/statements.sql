-- insert_merchant
-- A new merchant.
INSERT INTO merchant (merchant_id, name, return_origins, created_at)
VALUES ($1::text, $2::text, $3::text[], $4::timestamptz);

-- set_return_origins
-- Replace the origins that a merchant's return addresses may point to.
UPDATE merchant SET return_origins = $2::text[] WHERE merchant_id = $1::text;

-- set_late_policy
-- What is done with a merchant's late money.
UPDATE merchant SET late_policy = $2::text WHERE merchant_id = $1::text;

-- set_stock_hook
-- Where a merchant's stock is asked and told, and the secret that signs it.
UPDATE merchant SET stock_url = $2::text, stock_secret = $3::text WHERE merchant_id = $1::text;

-- insert_api_key
-- A new API key of an existing merchant; only its hash is kept.
INSERT INTO api_key (merchant_id, key_hash, last4, created_at)
SELECT m.merchant_id, $2::bytea, $3::text, $4::timestamptz FROM merchant m WHERE m.merchant_id = $1::text;

-- api_keys_of_merchant
-- The API keys of a merchant, oldest first, revoked ones too.
SELECT k.key_hash, k.last4, k.created_at, k.revoked_at FROM api_key k
 WHERE k.merchant_id = $1::text ORDER BY k.created_at, k.key_hash;

-- revoke_api_key
-- End the life of an API key that still lives.
UPDATE api_key SET revoked_at = $3::timestamptz
 WHERE merchant_id = $1::text AND key_hash = $2::bytea AND revoked_at IS NULL;

-- insert_connection
-- A new connection of an existing merchant to a gateway; secrets are references.
INSERT INTO connection (merchant_id, connection_id, gateway, url, secret_key_ref, signature_scheme, webhook_secret_refs, created_at)
SELECT m.merchant_id, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text[], $8::timestamptz
  FROM merchant m WHERE m.merchant_id = $1::text;

-- set_connection_url
-- The new address of a connection's gateway.
UPDATE connection SET url = $3::text WHERE merchant_id = $1::text AND connection_id = $2::text;

-- set_secret_key
-- The reference of the key with which a connection calls its gateway.
UPDATE connection SET secret_key_ref = $3::text WHERE merchant_id = $1::text AND connection_id = $2::text;

-- set_webhook_secrets
-- The references of a connection's live webhook secrets.
UPDATE connection SET webhook_secret_refs = $3::text[] WHERE merchant_id = $1::text AND connection_id = $2::text;

-- list_merchants
-- Merchants behind one of them, in the order of their ids.
SELECT m.merchant_id FROM merchant m WHERE m.merchant_id > $1::text ORDER BY m.merchant_id LIMIT $2::integer;

-- merchants_of_keys
-- The merchants whose live API keys have these hashes. The key directory is read before the owner is known.
SELECT k.key_hash, m.merchant_id, m.name, m.return_origins
  FROM unnest($1::bytea[]) AS shown(key_hash)
  JOIN api_key k ON k.key_hash = shown.key_hash
  JOIN merchant m ON m.merchant_id = k.merchant_id
 WHERE k.revoked_at IS NULL
 ORDER BY k.key_hash;

-- find_merchant
-- One merchant.
SELECT m.merchant_id, m.name, m.return_origins FROM merchant m WHERE m.merchant_id = $1::text;

-- connections_of_merchants
-- Merchants' connections, each one's oldest first; those that were disabled open nothing new, but what they opened goes on.
SELECT c.merchant_id, c.connection_id, c.gateway, c.url, c.secret_key_ref, c.signature_scheme, c.webhook_secret_refs, c.disabled_at
  FROM connection c
 WHERE c.merchant_id = ANY ($1::text[])
 ORDER BY c.merchant_id, c.connection_id;
