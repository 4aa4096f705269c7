-- A merchant as operators see one: so many orders over thirty days, most of them paid, and a little of everything that needs a person.
-- :merchant, :connection, :orders and :now are put in by whoever runs it (benchmarks/console.py, tests/browser).

CREATE FUNCTION pg_temp.characters(n bigint, a text DEFAULT '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz')
RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT substr(a, ((n / 218340105584896) % 62)::int + 1, 1) ||
         substr(a, ((n / 3521614606208) % 62)::int + 1, 1) ||
         substr(a, ((n / 56800235584) % 62)::int + 1, 1) ||
         substr(a, ((n / 916132832) % 62)::int + 1, 1) ||
         substr(a, ((n / 14776336) % 62)::int + 1, 1) ||
         substr(a, ((n / 238328) % 62)::int + 1, 1) ||
         substr(a, ((n / 3844) % 62)::int + 1, 1) ||
         substr(a, ((n / 62) % 62)::int + 1, 1) ||
         substr(a, ((n / 1) % 62)::int + 1, 1)
$$;

INSERT INTO orders (merchant_id, order_id, connection_id, customer_id, reference, amount_minor, currency, ui_mode, ttl_s, declines_max, facts,
                    state, fulfilment, attention, keeper, attempt_newest, amount_captured_minor, amount_refunded_minor, created_at, expires_at,
                    paid_at, updated_at, version, line_items)
SELECT :merchant, 'ord_' || substr(:merchant, 5) || pg_temp.characters(floor(extract(epoch FROM at) * 1000)::bigint) || substr(md5(n::text), 1, 16),
       :connection, CASE WHEN n % 3 = 0 THEN 'cus_' || lpad((n % 50000)::text, 25, '0') END, 'basket-' || n, 500 + (n * 37) % 20000,
       (ARRAY['EUR', 'EUR', 'EUR', 'USD', 'JPY'])[n % 5 + 1], 'hosted', 1800, 3,
       format(CASE s.state WHEN 'PAID' THEN '{"attempts": {"1": {"state": "succeeded", "session": "cs_%1$s", "intent": "pi_%1$s", "charges": {"ch_%1$s": {"status": "succeeded"}}}}, "keeper": 1, "decision": "allowed"}'
                           WHEN 'PENDING' THEN '{"attempts": {"1": {"state": "open", "session": "cs_%1$s"}}}'
                           ELSE '{"attempts": {"1": {"state": "closed", "session": "cs_%1$s", "intent": "pi_%1$s", "charges": {"ch_%1$s": {"status": "failed", "code": "insufficient_funds"}}, "close_asked": "expired", "close_told": "expired"}}, "released": 1}' END, n)::jsonb,
       s.state, CASE WHEN s.state = 'PAID' THEN CASE WHEN n % 4001 = 0 THEN 'held' ELSE 'allowed' END ELSE 'none' END,
       CASE WHEN s.state = 'PAID' AND n % 4001 = 0 THEN 'paid_but_missing' END, CASE WHEN s.state = 'PAID' THEN 1 END, 1,
       CASE WHEN s.state = 'PAID' THEN 500 + (n * 37) % 20000 ELSE 0 END, 0, at, at + interval '30 min',
       CASE WHEN s.state = 'PAID' THEN at + interval '40 s' END, at + interval '1 min', 4,
       '[{"name": "Tea", "amount": 500, "quantity": 1}]'
  FROM generate_series(1, :orders) AS n,
       LATERAL (VALUES (timestamptz :now - (:orders - n) * (interval '30 days' / :orders))) AS t(at),
       LATERAL (VALUES (CASE WHEN at > timestamptz :now - interval '20 min' AND n % 3 = 0 THEN 'PENDING' WHEN n * 37 % 100 < 84 THEN 'PAID'
                             WHEN n * 37 % 100 < 95 THEN 'EXPIRED' WHEN n * 37 % 100 < 98 THEN 'FAILED' ELSE 'CANCELED' END)) AS s(state);

INSERT INTO attempt (merchant_id, order_id, number, connection_id, state, open_key, gateway_expires_at, checkout_session, payment_intent,
                     due_at, created_at)
SELECT o.merchant_id, o.order_id, 1, o.connection_id, o.facts #>> '{attempts,1,state}', 'order:' || o.order_id || ':1', o.expires_at,
       o.facts #>> '{attempts,1,session}', o.facts #>> '{attempts,1,intent}', CASE WHEN o.state = 'PENDING' THEN o.expires_at END, o.created_at
  FROM orders o WHERE o.merchant_id = :merchant;

INSERT INTO timeline (merchant_id, order_id, number, at, source, attempt, fact, state_before, state_after, reference)
SELECT o.merchant_id, o.order_id, n, o.created_at + n * interval '9 s', (ARRAY['merchant', 'api', 'webhook', 'webhook'])[n], 1,
       (ARRAY['{"fact": "attempted"}', '{"fact": "session_opened", "session": "cs_1", "url": null, "client_secret": null}',
              '{"fact": "charge_seen", "charge": "ch_1", "status": "succeeded"}',
              '{"fact": "succeeded", "authorised_minor": 500, "captured_minor": 500, "currency": "EUR"}'])[n]::jsonb,
       'PENDING', CASE WHEN n = 4 AND o.state = 'PAID' THEN 'PAID' ELSE 'PENDING' END, 'evt_' || n
  FROM (SELECT * FROM orders o WHERE o.merchant_id = :merchant ORDER BY o.order_id DESC LIMIT 20000) AS o, generate_series(1, 4) AS n;

INSERT INTO inbox (merchant_id, connection_id, event_id, type, state, error, tries, received_at, raw)
SELECT :merchant, :connection, 'evt_' || lpad(n::text, 9, '0'), (ARRAY['charge.refunded', 'payment_intent.succeeded'])[n % 2 + 1],
       CASE WHEN n % 3 = 0 THEN 'failed' ELSE 'parked' END, CASE WHEN n % 3 = 0 THEN 'KeyError' END, 6,
       timestamptz :now - n * interval '1 min', '{}'
  FROM generate_series(1, least(:orders / 100, 5000)) AS n;

INSERT INTO delivery (owner_id, id, livemode, message, api_version, endpoint, state, tries, due_at, reason, created_at, finished_at)
SELECT :merchant, 'dlv_' || lpad(n::text, 9, '0'), true, 'evt_' || n, 'v', 'nep_' || n % 3, 'dead', 12, timestamptz :now,
       (ARRAY['http_500', 'http_503', 'timeout'])[n % 3 + 1], timestamptz :now - interval '3 days', timestamptz :now - n * interval '1 s'
  FROM generate_series(1, least(:orders / 100, 10000)) AS n;

INSERT INTO cases (merchant_id, case_id, kind, subject, order_id, attempt, state, details, opened_at, closed_at)
SELECT :merchant, 'cas_' || lpad(n::text, 9, '0'), 'recon_paid_but_missing', 'pi_' || n, o.order_id, 1, CASE WHEN n % 4 = 0 THEN 'open' ELSE 'closed' END,
       jsonb_build_object('payment', 'pi_' || n), timestamptz :now - n * interval '1 min', CASE WHEN n % 4 <> 0 THEN timestamptz :now END
  FROM (SELECT o.order_id, row_number() OVER (ORDER BY o.order_id DESC) AS n
          FROM orders o WHERE o.merchant_id = :merchant ORDER BY o.order_id DESC LIMIT least(:orders / 100, 5000)) AS o;

INSERT INTO reconciliation (merchant_id, reconciliation_id, connection_id, business_date, source, state, summary, lines_read, requested_by,
                            created_at, finished_at)
SELECT :merchant, 'rec_' || to_char(d, 'YYYYMMDD'), :connection, d::date, 'gateway', 'done',
       '{"mismatches": [{"code": "paid_but_missing", "resolution": "wait", "state": "waiting", "found": 12, "amount_minor": 12345}]}',
       :orders / 30, 'schedule', d, d + interval '2 h'
  FROM generate_series(timestamptz :now - interval '60 days', timestamptz :now - interval '1 day', interval '1 day') AS d;

INSERT INTO mismatch (merchant_id, reconciliation_id, code, subject, connection_id, payment, order_id, attempt, currency, amount_minor, resolution,
                      state, found_at)
SELECT :merchant, 'rec_' || to_char(timestamptz :now - interval '1 day', 'YYYYMMDD'), (ARRAY['paid_but_missing', 'fee_differs'])[n % 2 + 1], 'pi_' || n,
       :connection, 'pi_' || n, o.order_id, 1, 'EUR', n * 10, 'case', 'case', timestamptz :now
  FROM (SELECT o.order_id, row_number() OVER (ORDER BY o.order_id DESC) AS n
          FROM orders o WHERE o.merchant_id = :merchant ORDER BY o.order_id DESC LIMIT least(:orders / 100, 500)) AS o;

INSERT INTO heartbeat (name, beat_at) VALUES ('workers', timestamptz :now);

ANALYZE
