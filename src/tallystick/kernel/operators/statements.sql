-- insert_operator_key
-- A new operator key: only its hash is stored.
INSERT INTO operator_key (key_hash, name, role, hint, created_at)
VALUES ($1::bytea, $2::text, $3::text, $4::text, $5::timestamptz);

-- find_operator_key
-- Whose key this is, by its hash; a revoked one is not found.
SELECT k.name, k.role
  FROM operator_key k
 WHERE k.key_hash = $1::bytea AND k.revoked_at IS NULL;

-- list_operator_keys
-- All operator keys, oldest first, revoked ones too.
SELECT k.key_hash, k.name, k.role, k.hint, k.created_at, k.revoked_at
  FROM operator_key k
 ORDER BY k.created_at, k.key_hash;

-- revoke_operator_key
-- End the life of an operator key that still lives.
UPDATE operator_key
   SET revoked_at = $2::timestamptz
 WHERE key_hash = $1::bytea AND revoked_at IS NULL;
