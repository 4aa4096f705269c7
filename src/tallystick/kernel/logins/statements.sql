-- insert_operator_user
-- A new person who may log in, unless there is one of that name.
INSERT INTO operator_user (name, role, password_hash, created_at)
VALUES ($1::text, $2::text, $3::text, $4::timestamptz)
    ON CONFLICT (name) DO NOTHING;

-- find_operator_user
-- The password of a person who may log in, and the second factor where there is one.
SELECT u.password_hash, u.role, f.secret, f.wrapped, f.last_step
  FROM operator_user u
  LEFT JOIN operator_second_factor f ON f.user_name = u.name AND f.confirmed_at IS NOT NULL
 WHERE u.name = $1::text AND u.disabled_at IS NULL;

-- list_operator_users
-- All people, also those who may log in no more.
SELECT u.name, u.role, u.created_at, u.disabled_at, f.confirmed_at IS NOT NULL AS second_factor
  FROM operator_user u
  LEFT JOIN operator_second_factor f ON f.user_name = u.name
 ORDER BY u.name;

-- disable_operator_user
-- A person may log in no more.
UPDATE operator_user u
   SET disabled_at = $2::timestamptz
 WHERE u.name = $1::text AND u.disabled_at IS NULL;

-- set_operator_password
-- A person has another password.
UPDATE operator_user u
   SET password_hash = $2::text
 WHERE u.name = $1::text AND u.disabled_at IS NULL;

-- set_operator_role
-- A person may do something else from now on.
UPDATE operator_user u
   SET role = $2::text
 WHERE u.name = $1::text AND u.disabled_at IS NULL;

-- insert_operator_session
-- Somebody logged in; sessions that have ended are thrown out.
WITH ended AS (
    DELETE FROM operator_session s WHERE s.expires_at <= $3::timestamptz
)
INSERT INTO operator_session (token_hash, user_name, created_at, expires_at, seen_at)
VALUES ($1::bytea, $2::text, $3::timestamptz, $4::timestamptz, $3::timestamptz);

-- find_operator_session
-- Who is logged in by this cookie, still may be, and has not been away for too long.
SELECT s.user_name, u.role, s.expires_at, coalesce(s.seen_at, s.created_at) AS seen_at
  FROM operator_session s
  JOIN operator_user u ON u.name = s.user_name
 WHERE s.token_hash = $1::bytea AND s.expires_at > $2::timestamptz
   AND coalesce(s.seen_at, s.created_at) > $3::timestamptz AND u.disabled_at IS NULL;

-- see_operator_session
-- Somebody is still there.
UPDATE operator_session s SET seen_at = $2::timestamptz WHERE s.token_hash = $1::bytea;

-- delete_operator_session
-- Somebody logged out.
DELETE FROM operator_session WHERE token_hash = $1::bytea;

-- delete_operator_sessions
-- Somebody logs out everywhere, or may do something else from now on.
DELETE FROM operator_session WHERE user_name = $1::text;

-- propose_second_factor
-- A secret that its owner has yet to prove that it was kept; one that is in use stays.
INSERT INTO operator_second_factor (user_name, secret, wrapped, last_step)
VALUES ($1::text, $2::bytea, $3::text, 0)
    ON CONFLICT (user_name) DO UPDATE SET secret = excluded.secret, wrapped = excluded.wrapped, last_step = 0
 WHERE operator_second_factor.confirmed_at IS NULL;

-- find_second_factor
-- The secret of a person's second factor, proven or not.
SELECT f.secret, f.wrapped, f.last_step, f.confirmed_at FROM operator_second_factor f WHERE f.user_name = $1::text;

-- wrap_second_factor
-- A secret that was stored as it is, is wrapped from now on, unless it is another one by now.
UPDATE operator_second_factor f
   SET secret = $3::bytea, wrapped = $4::text
 WHERE f.user_name = $1::text AND f.secret = $2::bytea AND f.wrapped IS NULL;

-- wrapped_second_factors
-- The wrapped secrets of second factors after a name, some at a time.
SELECT f.user_name, f.wrapped
  FROM operator_second_factor f
 WHERE f.user_name > $1::text AND f.wrapped IS NOT NULL
 ORDER BY f.user_name
 LIMIT $2::int;

-- rewrap_second_factors
-- The same secrets under the newest key, where nobody has changed them meanwhile.
UPDATE operator_second_factor f
   SET wrapped = n.rewrapped
  FROM unnest($1::text[], $2::text[], $3::text[]) AS n(user_name, wrapped, rewrapped)
 WHERE (f.user_name, f.wrapped) = (n.user_name, n.wrapped);

-- use_second_factor
-- A code was right: its step and those before it are used up. Of two at once one finds it used.
UPDATE operator_second_factor f
   SET last_step = $2::bigint, confirmed_at = coalesce(f.confirmed_at, $3::timestamptz)
 WHERE f.user_name = $1::text AND f.last_step < $2::bigint;

-- delete_second_factor
-- A person logs in without a second factor from now on.
DELETE FROM operator_second_factor f WHERE f.user_name = $1::text;

-- find_operator_place
-- Whether a person has logged in from there.
SELECT p.seen_at FROM operator_place p WHERE p.user_name = $1::text AND p.place = $2::bytea;

-- note_operator_place
-- A person logged in from there.
INSERT INTO operator_place (user_name, place, seen_at)
VALUES ($1::text, $2::bytea, $3::timestamptz)
    ON CONFLICT (user_name, place) DO UPDATE SET seen_at = excluded.seen_at;

-- open_login_failures
-- A row for everything that is counted.
INSERT INTO login_failure (subject, failures, last_at, free_at)
SELECT each.subject, 0, $2::timestamptz, $2::timestamptz
  FROM unnest($1::bytea[]) AS each(subject)
 ORDER BY each.subject
    ON CONFLICT (subject) DO NOTHING;

-- lock_login_failures
-- What was counted so far, locked in order.
SELECT l.subject, l.failures, l.last_at, l.free_at
  FROM login_failure l
 WHERE l.subject = ANY($1::bytea[])
 ORDER BY l.subject
   FOR UPDATE;

-- save_login_failures
-- One failure more of each.
UPDATE login_failure l
   SET failures = each.failures, last_at = $3::timestamptz, free_at = each.free_at
  FROM unnest($1::bytea[], $2::int[], $4::timestamptz[]) AS each(subject, failures, free_at)
 WHERE l.subject = each.subject;

-- forgive_login
-- It was right: these are counted anew.
DELETE FROM login_failure l WHERE l.subject = ANY($1::bytea[]);

-- take_back_failure
-- It was right: one failure less, and no wait for it.
UPDATE login_failure l
   SET failures = greatest(l.failures - 1, 0), free_at = $2::timestamptz
 WHERE l.subject = $1::bytea;

-- forget_login_failures
-- What is long ago counts no more. SKIP LOCKED: what somebody is counting just now is not long ago any more, and whoever
-- waited for it here would hold what that one needs next.
DELETE FROM login_failure l
 WHERE l.subject IN (SELECT o.subject FROM login_failure o WHERE o.last_at < $1::timestamptz
                      ORDER BY o.subject FOR UPDATE SKIP LOCKED);
