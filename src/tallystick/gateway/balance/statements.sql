-- balances
-- What an account has in each currency: what the last report came to, and what is in none yet.
SELECT b.currency,
       -(coalesce((s.balances->>'merchant_pending')::bigint, 0) + tail.pending)::bigint AS pending,
       -(coalesce((s.balances->>'merchant_available')::bigint, 0) + tail.available)::bigint AS available
  FROM balance_account b
  LEFT JOIN LATERAL (
        SELECT r.balances, r.later_from
          FROM settlement_report r
         WHERE (r.account_id, r.livemode, r.currency) = (b.account_id, b.livemode, b.currency)
         ORDER BY r.account_id DESC, r.livemode DESC, r.currency DESC, r.sequence DESC, r.revision DESC
         LIMIT 1) AS s ON true
 CROSS JOIN LATERAL (
        SELECT coalesce(sum(ledger_sum_of(t.accounts, t.amounts, '{merchant_pending}')), 0) AS pending,
               coalesce(sum(ledger_sum_of(t.accounts, t.amounts, '{merchant_available}')), 0) AS available
          FROM ledger_transaction t
         WHERE t.account_id = b.account_id AND t.livemode = b.livemode AND t.currency = b.currency
           AND t.id >= coalesce(s.later_from, '')
           AND NOT EXISTS (SELECT FROM settlement_line l
                            WHERE l.account_id = t.account_id AND l.livemode = t.livemode AND l.ledger_transaction = t.id)) AS tail
 WHERE b.account_id = $1::text AND b.livemode = $2::boolean AND b.next_day IS NOT NULL
 ORDER BY b.currency;
