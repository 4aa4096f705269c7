-- A gateway as operators see one: so many payments of twenty accounts over a hundred days, half of them one account's, most of them
-- succeeded, and a little of everything that needs a person. :payments and :now are put in by benchmarks/gateway_console.py.

-- Milliseconds as ids begin with them (kernel/identifiers.py).
CREATE FUNCTION pg_temp.characters(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 218340105584896 % 62)::int + 1, 1)
      || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 3521614606208 % 62)::int + 1, 1)
      || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 56800235584 % 62)::int + 1, 1)
      || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 916132832 % 62)::int + 1, 1)
      || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 14776336 % 62)::int + 1, 1)
      || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 238328 % 62)::int + 1, 1)
      || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 3844 % 62)::int + 1, 1)
      || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 62 % 62)::int + 1, 1)
      || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', (n / 1 % 62)::int + 1, 1)
$$;

INSERT INTO account (account_id, name, origins, created_at)
SELECT 'acct_' || lpad(n::text, 16, '0'), 'Shop ' || n, '{https://shop.example}', timestamptz :now - interval '1 year' FROM generate_series(1, 20) AS n;

-- What all rows of a payment share: its place among all, whose it is, when it was, what its ids end in.
CREATE TEMP TABLE made AS
SELECT n, a.account_id, substr(a.account_id, 6) || t.characters || lpad(n::text, 16, '0') AS owned, t.characters || lpad(n::text, 16, '0') AS id, t.at,
       500 + (n * 37) % 20000 AS amount, (ARRAY['EUR', 'EUR', 'EUR', 'USD', 'JPY'])[n % 5 + 1] AS currency,
       CASE WHEN n % 100 < 84 THEN 'succeeded' WHEN n % 100 < 90 THEN 'requires_payment_method' ELSE 'canceled' END AS status
  FROM generate_series(1, :payments) AS n
 CROSS JOIN LATERAL (SELECT at, pg_temp.characters(floor(extract(epoch FROM at) * 1000)::bigint) AS characters
                       FROM (VALUES (timestamptz :now - (:payments - n) * (interval '100 days' / :payments))) AS each(at)) AS t
 CROSS JOIN LATERAL (VALUES ('acct_' || lpad((CASE WHEN n % 2 = 0 THEN 1 ELSE n % 20 + 1 END)::text, 16, '0'))) AS a(account_id);

INSERT INTO payment_method (account_id, livemode, id, card_reference, brand, first6, last4, exp_month, exp_year, fingerprint,
                            authentication_required, created_at)
SELECT m.account_id, false, 'pm_' || m.id, 'card', (ARRAY['visa', 'visa', 'mastercard', 'amex'])[n % 4 + 1], '424242',
       CASE WHEN n % 2 = 0 THEN '4242' ELSE lpad((n % 10000)::text, 4, '0') END, 12, 2040, 'f' || n % 50000, false, m.at
  FROM made m;

INSERT INTO payment_intent (account_id, livemode, id, version, status, amount, currency, capture_method, amount_received, payment_method,
                            latest_charge, checkout_session, client_secret, metadata, canceled_at, created_at)
SELECT m.account_id, false, 'pi_' || m.id, 2, m.status, m.amount, m.currency, 'automatic',
       CASE WHEN m.status = 'succeeded' THEN m.amount ELSE 0 END, 'pm_' || m.id, 'ch_' || m.owned, 'cs_test_' || m.owned, 's',
       jsonb_build_object('order_id', 'basket-' || n), CASE WHEN m.status = 'canceled' THEN m.at END, m.at
  FROM made m;

INSERT INTO checkout_session (account_id, livemode, id, version, status, payment_status, payment_intent, amount_total, currency, line_items,
                              ui_mode, expires_at, created_at)
SELECT m.account_id, false, 'cs_test_' || m.owned, 1, CASE WHEN m.status = 'succeeded' THEN 'complete' ELSE 'expired' END,
       CASE WHEN m.status = 'succeeded' THEN 'paid' ELSE 'unpaid' END, 'pi_' || m.id, m.amount, m.currency, '[]', 'hosted_page', m.at, m.at
  FROM made m;

INSERT INTO charge (account_id, livemode, id, version, payment_intent, payment_method, state, amount, currency, capture_method,
                    amount_authorised, amount_captured, acquirer_key, created_at, due_at)
SELECT m.account_id, false, 'ch_' || m.owned, 1, 'pi_' || m.id, 'pm_' || m.id,
       CASE WHEN m.status = 'succeeded' THEN 'approved' WHEN n % 20000 = 99 THEN 'unknown' ELSE 'declined' END, m.amount, m.currency, 'automatic',
       CASE WHEN m.status = 'succeeded' THEN m.amount ELSE 0 END, CASE WHEN m.status = 'succeeded' THEN m.amount ELSE 0 END, 'ch_' || m.owned, m.at,
       CASE WHEN m.status <> 'succeeded' AND n % 20000 = 99 THEN timestamptz :now + interval '1 day' END -- when the bank is asked again
  FROM made m;

INSERT INTO ledger_transaction (account_id, livemode, id, kind, reference, payment_intent, charge, currency, accounts, amounts, effective_at, created_at)
SELECT m.account_id, false, 'txn_' || m.id, 'charge', 'charge:ch_' || m.owned, 'pi_' || m.id, 'ch_' || m.owned, m.currency,
       '{acquirer_receivable,merchant_pending}', ARRAY[m.amount, -m.amount], m.at, m.at
  FROM made m WHERE m.status = 'succeeded';

INSERT INTO event (account_id, livemode, id, type, object_id, object, request_id, idempotency_key, created_at)
SELECT m.account_id, false, 'evt_' || m.id, CASE WHEN m.status = 'succeeded' THEN 'charge.succeeded' ELSE 'charge.failed' END, 'ch_' || m.owned,
       '{}', 'req_' || n, 'key-' || n, m.at
  FROM made m;

INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, tries, due_at, reason, created_at, finished_at)
SELECT m.account_id, 'dlv_' || m.id, false, 'evt_' || m.id, 'v', 'we_' || m.account_id, CASE WHEN n % 100 = 7 THEN 'dead' ELSE 'delivered' END, 1, m.at,
       CASE WHEN n % 100 = 7 THEN 'http_500' END, m.at, m.at
  FROM made m;

INSERT INTO delivery_attempt (owner_id, delivery, number, started_at, duration_ms, status, reason)
SELECT m.account_id, 'dlv_' || m.id, 1, m.at, 30, 200, NULL FROM made m;

INSERT INTO idempotency_key (owner_id, mode, key, fingerprint, state, status, body, generation, lease_until, created_at)
SELECT m.account_id, 'test', 'key-' || n, '', 'done', 200, '{}', 1, m.at, m.at FROM made m WHERE m.n > :payments - 50000;

INSERT INTO refund (account_id, livemode, id, version, payment_intent, charge, status, amount, currency, created_at)
SELECT m.account_id, false, 're_' || m.id, 1, 'pi_' || m.id, 'ch_' || m.owned, 'succeeded', 100, m.currency, m.at
  FROM made m WHERE m.status = 'succeeded' AND n % 50 = 0;

INSERT INTO dispute (account_id, livemode, id, version, payment_intent, charge, reference, status, amount, currency, reason, brand, created_at,
                     evidence_due_at)
SELECT m.account_id, false, 'dp_' || m.id, 1, 'pi_' || m.id, 'ch_' || m.owned, 'd' || n, CASE WHEN n % 5000 = 0 THEN 'needs_response' ELSE 'lost' END,
       100, m.currency, 'fraudulent', 'visa', m.at, m.at
  FROM made m WHERE m.status = 'succeeded' AND n % 500 = 0;

INSERT INTO cases (account_id, livemode, id, kind, subject, payment_intent, charge, amount, currency, state, opened_at, closed_at, note, operator)
SELECT m.account_id, false, 'cas_' || m.id, 'outcome_unknown', 'ch_' || m.owned, 'pi_' || m.id, 'ch_' || m.owned, m.amount, m.currency,
       CASE WHEN n % 4000 = 99 THEN 'open' ELSE 'closed' END, m.at, CASE WHEN n % 4000 <> 99 THEN m.at END,
       CASE WHEN n % 4000 <> 99 THEN 'seen to' END, CASE WHEN n % 4000 <> 99 THEN 'ada' END
  FROM made m WHERE n % 1000 = 99;

INSERT INTO webhook_endpoint (account_id, livemode, id, url, status, enabled_events, secrets, created_at)
SELECT a.account_id, false, 'we_' || a.account_id, 'https://shop.example/hooks', 'enabled', '{*}', '{whsec_eA==}', timestamptz :now FROM account a;
INSERT INTO endpoint_health (owner_id, livemode, endpoint, width, failures, reason)
SELECT a.account_id, false, 'we_' || a.account_id, 1, 3, 'http_500' FROM account a WHERE a.account_id <> 'acct_0000000000000001';

INSERT INTO balance_account (account_id, livemode, currency, next_day, close_at)
SELECT a.account_id, false, c, (timestamptz :now)::date, timestamptz :now + interval '1 day' FROM account a, unnest(ARRAY['EUR', 'USD', 'JPY']) AS c;
INSERT INTO settlement_report (account_id, livemode, id, currency, day, revision, sequence, ends_at, lines, gross, fee, net, opening, closing, sha256,
                               balances, later_from, created_at)
SELECT a.account_id, false, 'stl_' || pg_temp.characters(floor(extract(epoch FROM t.ends_at) * 1000)::bigint) || c || lpad(d::text, 13, '0'), c,
       t.ends_at::date - 1, 1, d, t.ends_at, 0, 0, 0, 0, 0, 0, repeat('0', 64), '{}',
       'txn_' || pg_temp.characters(floor(extract(epoch FROM t.ends_at) * 1000)::bigint), t.ends_at
  FROM account a, unnest(ARRAY['EUR', 'USD', 'JPY']) AS c, generate_series(1, 100) AS d,
       LATERAL (VALUES (date_trunc('day', timestamptz :now) - (100 - d) * interval '1 day')) AS t(ends_at);
INSERT INTO payout (account_id, livemode, id, currency, day, amount, status, arrival_at, created_at)
SELECT s.account_id, false, 'po_' || substr(s.id, 5), s.currency, s.day, 100000, 'paid', s.ends_at, s.ends_at FROM settlement_report s;
INSERT INTO payment_tries (account_id, livemode, subject, window_at, tries, declines)
SELECT 'acct_0000000000000001', true, 'address 10.' || n / 65536 || '.' || n / 256 % 256 || '.' || n % 256, date_trunc('hour', timestamptz :now), n % 400, n % 90
  FROM generate_series(1, least(:payments / 100, 20000)) AS n;
INSERT INTO redrive (id, state, filter, rate_max, matched, due_at, created_by, created_at)
SELECT 'rdr_' || n, 'done', '{}', 50, n, timestamptz :now, 'ada', timestamptz :now FROM generate_series(1, 500) AS n
