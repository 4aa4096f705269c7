-- find_transactions
-- Balance transactions by id, for retrieving and expanding: what the ledger's legs come to for the merchant.
SELECT t.account_id, t.livemode, t.id, t.kind, t.currency, t.created_at, coalesce(t.available_at, t.effective_at) AS available_at,
       -ledger_sum_of(t.accounts, t.amounts, '{merchant_pending,merchant_available}') AS net,
       -ledger_sum_of(t.accounts, t.amounts, '{fee_revenue}') AS fee,
       CASE WHEN t.kind IN ('charge', 'capture', 'void') THEN t.charge ELSE split_part(t.reference, ':', 2) END AS source
  FROM ledger_transaction t
  JOIN unnest($1::text[], $2::boolean[], $3::text[]) AS wanted(account_id, livemode, id)
    ON (t.account_id, t.livemode, t.id) = (wanted.account_id, wanted.livemode, wanted.id)
 WHERE t.kind = ANY ($4::text[])
 ORDER BY t.account_id, t.livemode, t.id;
