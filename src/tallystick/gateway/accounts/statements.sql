-- insert_account
-- A new account.
INSERT INTO account (account_id, name, origins, created_at)
VALUES ($1::text, $2::text, $3::text[], $4::timestamptz);

-- insert_keys
-- New API keys: only their hashes are stored.
INSERT INTO api_key (key_hash, account_id, livemode, kind, hint, created_at)
SELECT k.key_hash, $1::text, k.livemode, k.kind, k.hint, $2::timestamptz
  FROM unnest($3::bytea[], $4::boolean[], $5::text[], $6::text[]) AS k(key_hash, livemode, kind, hint);

-- known_account
-- Whether there is such an account.
SELECT a.account_id
  FROM account a
 WHERE a.account_id = $1::text;

-- list_accounts
-- The ids of all accounts, oldest first.
SELECT a.account_id
  FROM account a
 ORDER BY a.created_at, a.account_id;

-- list_keys
-- The keys of an account, oldest first, revoked ones too.
SELECT k.key_hash, k.account_id, k.livemode, k.kind, k.hint, k.created_at, k.revoked_at
  FROM api_key k
 WHERE k.account_id = $1::text
 ORDER BY k.created_at, k.livemode, k.kind, k.key_hash;

-- revoke_key
-- End the life of a key that still lives.
UPDATE api_key
   SET revoked_at = $3::timestamptz
 WHERE account_id = $1::text AND key_hash = $2::bytea AND revoked_at IS NULL;

-- set_origins
-- Where return URLs of an account may lead and its embedded pages may stand.
UPDATE account
   SET origins = $2::text[]
 WHERE account_id = $1::text;

-- set_several_captures
-- Whether an account may capture a charge in parts.
UPDATE account
   SET several_captures = $2::boolean
 WHERE account_id = $1::text;

-- set_fees
-- What an account is charged in a currency, from now on.
INSERT INTO balance_account (account_id, livemode, currency, fee_basis_points, fee_fixed, dispute_fee)
VALUES ($1::text, $2::boolean, $3::text, $4::int, $5::bigint, $6::bigint)
    ON CONFLICT (account_id, livemode, currency) DO UPDATE
   SET fee_basis_points = excluded.fee_basis_points, fee_fixed = excluded.fee_fixed, dispute_fee = excluded.dispute_fee;

-- set_days
-- When an account's business day begins, how many days later money is available, and whether it is paid out then. The days that are
-- open are closed as much earlier or later as they end now; locked first, so that two changes at once are each counted from the other.
WITH before AS MATERIALIZED (
    SELECT a.day_offset_minutes FROM account a WHERE a.account_id = $1::text ORDER BY a.account_id FOR NO KEY UPDATE
), moved AS (
    UPDATE balance_account b
       SET close_at = b.close_at + ($2::int - before.day_offset_minutes) * interval '1 minute'
      FROM before
     WHERE b.account_id = $1::text AND b.close_at IS NOT NULL
)
UPDATE account a
   SET day_offset_minutes = $2::int, available_days = $3::int, payout_interval = $4::text
  FROM before
 WHERE a.account_id = $1::text;

-- adopt_api_version
-- The first Stripe-Version that an account sends is the version of its webhook endpoints.
UPDATE account
   SET default_api_version = $2::text
 WHERE account_id = $1::text AND default_api_version IS NULL;

-- find_live_keys
-- Whose keys these are, by their hashes; revoked ones are not found.
SELECT k.key_hash, k.account_id, k.livemode, k.kind, a.origins, a.default_api_version
  FROM api_key k
  JOIN account a ON a.account_id = k.account_id
 WHERE k.key_hash = ANY ($1::bytea[]) AND k.revoked_at IS NULL
 ORDER BY k.key_hash;
