-- balances
-- What an account has in each currency: what is still pending, and what it may have.
SELECT t.currency, -sum(ledger_sum_of(t.accounts, t.amounts, '{merchant_pending}'))::bigint AS pending,
       -sum(ledger_sum_of(t.accounts, t.amounts, '{merchant_available}'))::bigint AS available
  FROM ledger_transaction t
 WHERE t.account_id = $1::text AND t.livemode = $2::boolean
 GROUP BY t.currency
 ORDER BY t.currency;
