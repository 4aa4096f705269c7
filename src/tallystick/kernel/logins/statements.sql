-- insert_operator_user
-- A new person who may log in, unless there is one of that name.
INSERT INTO operator_user (name, role, password_hash, created_at)
VALUES ($1::text, $2::text, $3::text, $4::timestamptz)
    ON CONFLICT (name) DO NOTHING;

-- find_operator_user
-- The password of a person who may log in.
SELECT u.password_hash
  FROM operator_user u
 WHERE u.name = $1::text AND u.disabled_at IS NULL;

-- disable_operator_user
-- A person may log in no more, and whoever is logged in by that name is out.
WITH ended AS (
    DELETE FROM operator_session s WHERE s.user_name = $1::text
)
UPDATE operator_user u
   SET disabled_at = $2::timestamptz
 WHERE u.name = $1::text AND u.disabled_at IS NULL;

-- insert_operator_session
-- Somebody logged in; sessions that have ended are thrown out.
WITH ended AS (
    DELETE FROM operator_session s WHERE s.expires_at <= $3::timestamptz
)
INSERT INTO operator_session (token_hash, user_name, created_at, expires_at)
VALUES ($1::bytea, $2::text, $3::timestamptz, $4::timestamptz);

-- find_operator_session
-- Who is logged in by this cookie, and still may be.
SELECT s.user_name, u.role
  FROM operator_session s
  JOIN operator_user u ON u.name = s.user_name
 WHERE s.token_hash = $1::bytea AND s.expires_at > $2::timestamptz AND u.disabled_at IS NULL;

-- delete_operator_session
-- Somebody logged out.
DELETE FROM operator_session WHERE token_hash = $1::bytea;
