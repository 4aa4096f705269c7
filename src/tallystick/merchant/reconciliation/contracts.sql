-- set_contract
-- What a connection's charges cost from a day on; of a connection that there is.
INSERT INTO fee_contract (merchant_id, connection_id, currency, valid_from, basis_points, fixed_minor)
SELECT c.merchant_id, c.connection_id, $3::text, $4::date, $5::int, $6::bigint
  FROM connection c
 WHERE c.merchant_id = $1::text AND c.connection_id = $2::text
    ON CONFLICT (merchant_id, connection_id, currency, valid_from) DO UPDATE
   SET basis_points = excluded.basis_points, fixed_minor = excluded.fixed_minor;

-- list_contracts
-- Everything that was agreed for a connection, the newest of each currency first.
SELECT f.currency, f.valid_from, f.basis_points, f.fixed_minor
  FROM fee_contract f
 WHERE f.merchant_id = $1::text AND f.connection_id = $2::text
 ORDER BY f.currency, f.valid_from DESC;

-- drop_contract
-- What was agreed from a day on is taken back: what held before goes on.
DELETE FROM fee_contract f
 WHERE f.merchant_id = $1::text AND f.connection_id = $2::text AND f.currency = $3::text AND f.valid_from = $4::date;

-- connection_exists
-- Whether a merchant has a connection.
SELECT c.connection_id FROM connection c WHERE c.merchant_id = $1::text AND c.connection_id = $2::text;
