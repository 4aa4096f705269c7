-- What was agreed changes: a day is compared with what held on it, also when it is compared again (RULES §11).

ALTER TABLE fee_contract ADD COLUMN valid_from date NOT NULL DEFAULT '1970-01-01';
ALTER TABLE fee_contract DROP CONSTRAINT fee_contract_pkey;
ALTER TABLE fee_contract ADD PRIMARY KEY (merchant_id, connection_id, currency, valid_from);
